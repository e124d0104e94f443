use super::*;
use serde::Deserialize;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    listen: String,
    copies: u32,
    log: Log,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Log {
    level: Option<String>,
    json: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { listen: "127.0.0.1:7000".into(), copies: 2, log: Log::default() }
    }
}

#[derive(Default, Serialize)]
struct Flags {
    listen: Option<String>,
    copies: Option<u32>,
    log: LogFlags,
}

#[derive(Default, Serialize)]
struct LogFlags {
    level: Option<String>,
}

struct Case {
    dir: tempfile::TempDir,
    sources: Sources,
}

impl Case {
    fn new(file: Option<&str>, environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = file.map(|text| {
            let path = dir.path().join("cairn.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let sources =
            Sources::new("CAIRN_X_").with_file(path.as_deref()).ignoring(&["config"]).with_environment(environment);
        Self { dir, sources }
    }

    fn load(&self, flags: &Flags) -> Settings {
        self.sources.load(flags).unwrap()
    }

    /// The error, without the directory of this test.
    fn error(&self) -> String {
        let error = self.sources.load::<Settings>(&Flags::default()).unwrap_err().to_string();
        assert!(!error.contains('\n'), "more than one line: {error}");
        error.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

#[test]
fn each_layer_wins_over_those_before() {
    let file = "listen = 'file:1'\ncopies = 3\n[log]\nlevel = 'debug'\njson = true\n";
    let environment =
        [("CAIRN_X_COPIES", "4"), ("CAIRN_X_LOG__LEVEL", "warn"), ("CAIRN_X_CONFIG", "/f"), ("PATH", "/")];
    let log = |level: Option<&str>, json| Log { level: level.map(Into::into), json };

    assert_eq!(Case::new(None, &[]).load(&Flags::default()), Settings::default());
    let expected = Settings { listen: "file:1".into(), copies: 3, log: log(Some("debug"), true) };
    assert_eq!(Case::new(Some(file), &[]).load(&Flags::default()), expected);
    let expected = Settings { listen: "file:1".into(), copies: 4, log: log(Some("warn"), true) };
    assert_eq!(Case::new(Some(file), &environment).load(&Flags::default()), expected);

    let log_flags = LogFlags { level: Some("error".into()) };
    let flags = Flags { listen: Some("flag:1".into()), copies: None, log: log_flags };
    let expected = Settings { listen: "flag:1".into(), copies: 4, log: log(Some("error"), true) };
    assert_eq!(Case::new(Some(file), &environment).load(&flags), expected);
}

#[test]
fn unknown_keys_are_refused_with_their_place() {
    let error = Case::new(Some("copies = 1\n\nlisten_on = 'x'\n"), &[]).error();
    assert_eq!(error, "cairn.toml:3: unknown key `listen_on` (known here: listen, copies, log)");
    let error = Case::new(Some("copies = 1\n[log]\n# a comment\nlevle = 'x'\n"), &[]).error();
    assert_eq!(error, "cairn.toml:4: unknown key `log.levle` (known here: level, json)");
    let error = Case::new(Some("log.levle = 'x'\n"), &[]).error();
    assert_eq!(error, "cairn.toml:1: unknown key `log.levle` (known here: level, json)");
    let error = Case::new(Some("copies = 1\n"), &[("CAIRN_X_COPIS", "1")]).error();
    let expected = "environment variable CAIRN_X_COPIS: unknown key `copis` (known here: listen, copies, log)";
    assert_eq!(error, expected);
}

#[test]
fn bad_values_are_refused_with_their_place() {
    let error = Case::new(Some("\ncopies = 'many'\n"), &[]).error();
    assert_eq!(error, "cairn.toml:2: `copies`: invalid type: found string \"many\", expected u32");
    let error = Case::new(Some("[log]\njson = 1\n"), &[]).error();
    assert_eq!(error, "cairn.toml:2: `log.json`: invalid type: found signed int `1`, expected a boolean");
    let error = Case::new(Some("copies = 1"), &[("CAIRN_X_COPIES", "-1")]).error();
    assert!(error.starts_with("environment variable CAIRN_X_COPIES: `copies`: invalid value"), "{error}");
}

#[test]
fn broken_files() {
    let error = Case::new(Some("copies = 1\nlisten = \n"), &[]).error();
    assert!(error.starts_with("cairn.toml:2: "), "{error}");
    let case = Case::new(None, &[]);
    let missing = case.dir.path().join("none.toml");
    let error = case.sources.clone().with_file(Some(&missing)).load::<Settings>(&Flags::default()).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { path, .. } if path == missing));
}

#[test]
fn what_has_no_default_is_asked_for() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[expect(dead_code, reason = "only its absence matters")]
        data_dir: PathBuf,
    }
    let error = Case::new(None, &[]).sources.load::<Strict>(&Flags::default()).unwrap_err();
    let expected = "`data_dir` is not set: set it in the configuration file, by CAIRN_X_DATA_DIR or by its flag";
    assert_eq!(error.to_string(), expected);
}
