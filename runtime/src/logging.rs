//! Logs on stderr: for people on a terminal, JSON (one object a line) elsewhere.

use std::io::{self, IsTerminal};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The variable that sets the level where no option does.
const LEVEL_VARIABLE: &str = "RUST_LOG";

/// What is logged unless something else is asked for.
const DEFAULT_LEVEL: &str = "info";

/// tarpc reports each failed call of its own accord, at both ends; whoever made the call knows better what it means.
const TARPC_TARGET: &str = "tarpc";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// [`LogFormat::Human`] where stderr is a terminal, [`LogFormat::Json`] elsewhere.
    #[default]
    Auto,
    Human,
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// A level (`debug`) or directives (`info,cairn_metaserver=trace`). Without it `RUST_LOG`, without that `info`.
    pub level: Option<String>,
    pub format: LogFormat,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("`{directives}` is no log level (write e.g. `debug` or `info,cairn_metaserver=trace`): {source}")]
    BadLevel { directives: String, source: ParseError },
    #[error("logging is already set up")]
    AlreadySetUp(#[from] TryInitError),
}

/// Sets up logging for the whole process. To be called once.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let filter = filter(config.level.as_deref(), std::env::var(LEVEL_VARIABLE).ok().as_deref())?;
    let terminal = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.format {
        LogFormat::Auto if terminal => lines.with_ansi(true).finish().try_init()?,
        LogFormat::Human => lines.with_ansi(terminal).finish().try_init()?,
        LogFormat::Auto | LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

fn filter(option: Option<&str>, variable: Option<&str>) -> Result<EnvFilter, LogError> {
    let given = option.or(variable).filter(|directives| !directives.is_empty()).unwrap_or(DEFAULT_LEVEL);
    let directives =
        if given.contains(TARPC_TARGET) { given.to_owned() } else { format!("{given},{TARPC_TARGET}=off") };
    EnvFilter::builder()
        .parse(&directives)
        .map_err(|source| LogError::BadLevel { directives: given.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(option: Option<&str>, variable: Option<&str>) -> String {
        filter(option, variable).unwrap().to_string()
    }

    #[test]
    fn the_option_wins_over_the_variable() {
        assert_eq!(effective(Some("debug"), Some("trace")), "tarpc=off,debug");
        assert_eq!(effective(None, Some("trace")), "tarpc=off,trace");
        assert_eq!(effective(None, Some("")), "tarpc=off,info");
        assert_eq!(effective(None, None), "tarpc=off,info");
        assert_eq!(effective(Some("warn,tarpc=debug"), None), "tarpc=debug,warn");
    }

    #[test]
    fn a_bad_level_is_named() {
        let error = filter(Some("a=loud"), None).unwrap_err().to_string();
        assert!(error.starts_with("`a=loud` is no log level"), "{error}");
    }

    #[test]
    fn sets_up_once() {
        let config = LogConfig { level: Some("off".into()), format: LogFormat::Json };
        init(&config).unwrap();
        assert!(matches!(init(&config), Err(LogError::AlreadySetUp(_))));
    }
}
