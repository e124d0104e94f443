//! pjdfstest: POSIX semantics of the namespace, some 400 cases.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::Cluster;
use cairn_tests::{binaries, run};

const CONFIG: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.01
allow_remount = REMOUNT

[dummy_auth]
entries = [["cairn-test-a", "cairn-test-a"], ["cairn-test-b", "cairn-test-b"]]
"#;

/// Cases that may be skipped, and why.
const SKIPS: [(&str, &str); 1] = [(
    "link::link_count_max",
    "wants LINK_MAX of pathconf(3), which the C library knows for a few local file systems only",
)];

/// What mount(8) calls to remount: the cases of EROFS need it.
const REMOUNT_HELPER: &str = "/sbin/mount.fuse.cairn";

/// The helper in its place while it lives, unless CairnFS is installed on this machine.
struct RemountHelper {
    ours: bool,
}

impl RemountHelper {
    fn install() -> Result<Self> {
        let ours = !Path::new(REMOUNT_HELPER).exists();
        if ours {
            let _ = std::fs::remove_file(REMOUNT_HELPER);
            std::os::unix::fs::symlink(binaries::cairn(), REMOUNT_HELPER)?;
        }
        Ok(Self { ours })
    }
}

impl Drop for RemountHelper {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(REMOUNT_HELPER);
        }
    }
}

#[test]
fn posix_semantics() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    let _helper = RemountHelper::install()?;
    // EXDEV needs a second file system.
    let elsewhere = tempfile::tempdir_in("/dev/shm")?;
    // The suite cuts paths of exactly PATH_MAX out of the length of its own base path and fails to where nothing is left over
    // (4095 less the length, modulo 127): this name keeps clear of that.
    let base = mount.join("pjdfstest");
    std::fs::create_dir(&base)?;
    let suite = |remount: bool, filter: &[&str]| -> Result<String> {
        let config = cluster.dir().join("pjdfstest.toml");
        std::fs::write(&config, CONFIG.replace("REMOUNT", &remount.to_string()))?;
        let mut command = Command::new(binaries::tool("pjdfstest"));
        command.arg("-c").arg(&config).arg("-p").arg(&base).arg("-s").arg(elsewhere.path()).args(filter);
        Ok(run::printed(&run::output(&mut command)?))
    };
    // The suite leaves removed files open, and a file system with such cannot be remounted (ext4 neither): the cases of EROFS
    // run in a process of their own.
    let text = suite(false, &[])?;
    let read_only = suite(true, &["erofs"])?;
    let mut results = results(&text);
    results.extend(self::results(&read_only));
    let text = format!("{text}\n{read_only}");
    let with = |what: &str| results.iter().filter(|(_, r)| r.as_str() == what).map(|(n, _)| *n).collect::<Vec<_>>();
    let (failed, skipped, passed) = (with("FAILED"), with("skipped"), with("ok"));
    println!("pjdfstest: {} passed, {} failed, {} skipped", passed.len(), failed.len(), skipped.len());
    ensure!(failed.is_empty(), "failed: {failed:#?}\n{text}");
    let unexplained: Vec<_> = skipped.iter().filter(|n| !SKIPS.iter().any(|(s, _)| s == *n)).collect();
    ensure!(unexplained.is_empty(), "skipped without a reason in this file: {unexplained:#?}");
    passed.len().checked_sub(390).context("fewer cases ran than the suite has: the configuration is wrong")?;
    mount.unmount()
}

/// Case name to `ok`, `FAILED` or `skipped`, as the suite prints them.
fn results(text: &str) -> BTreeMap<&str, String> {
    text.lines()
        .filter_map(|line| {
            let (name, result) = line.split_once(char::is_whitespace)?;
            let result = result.trim();
            (name.contains("::") && matches!(result, "ok" | "FAILED" | "skipped")).then(|| (name, result.to_owned()))
        })
        .collect()
}
