//! What all daemons take on their command line: a configuration file, single settings over it, and how to log.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use cairn_runtime::config::Sources;
use cairn_runtime::logging::{self, LogConfig, LogFormat};
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

#[derive(Debug, Args, Default)]
pub struct DaemonArgs {
    /// Settings, as TOML: see docs/operations.md
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Any setting of the configuration file, over it; may be given several times
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// What to log: a level, or directives such as info,cairn_metaserver=debug
    #[arg(long, env = "CAIRN_LOG", value_name = "LEVEL")]
    pub log: Option<String>,
    /// How log lines look; auto is human on a terminal and JSON elsewhere
    #[arg(long, default_value = "auto")]
    pub log_format: LogFormatArg,
}

/// [`LogFormat`] as a word.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum LogFormatArg {
    #[default]
    Auto,
    Human,
    Json,
}

impl DaemonArgs {
    /// Defaults, file, environment (`prefix`…), `--set`, and last the command's own flags, which are `flags`.
    pub fn load<C: DeserializeOwned>(&self, prefix: &'static str, flags: Table) -> Result<C> {
        let mut settings = Table::new();
        for text in &self.set {
            let (key, value) = text.split_once('=').with_context(|| format!("--set {text}: write KEY=VALUE"))?;
            insert(&mut settings, key, parse_value(value)).with_context(|| format!("--set {text}"))?;
        }
        settings.extend(flags);
        Ok(Sources::new(prefix).with_file(self.config.as_deref()).load(&settings)?)
    }

    /// The same as arguments, for a process that this one starts.
    pub fn as_arguments(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        if let Some(config) = &self.config {
            args.extend(["--config".into(), config.into()]);
        }
        for setting in &self.set {
            args.extend(["--set".into(), setting.into()]);
        }
        if let Some(level) = &self.log {
            args.extend(["--log".into(), level.into()]);
        }
        if let Some(format) = self.log_format.to_possible_value() {
            args.extend(["--log-format".into(), format.get_name().into()]);
        }
        args
    }

    /// Sets up logging for this process.
    pub fn start_logging(&self) -> Result<()> {
        let format = match self.log_format {
            LogFormatArg::Auto => LogFormat::Auto,
            LogFormatArg::Human => LogFormat::Human,
            LogFormatArg::Json => LogFormat::Json,
        };
        Ok(logging::init(&LogConfig { level: self.log.clone(), format })?)
    }
}

/// Puts a flag that was given into `table`.
pub fn flag(table: &mut Table, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        table.insert(key.to_owned(), value.into());
    }
}

/// A TOML value where it is one, else the text itself: `copies=2`, `name=rack7`.
fn parse_value(text: &str) -> Value {
    match format!("v = {text}").parse::<Table>() {
        Ok(mut table) => table.remove("v").unwrap_or_else(|| Value::String(text.to_owned())),
        Err(_) => Value::String(text.to_owned()),
    }
}

fn insert(table: &mut Table, key: &str, value: Value) -> Result<()> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((head, rest)) => match table.entry(head).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => insert(inner, rest, value),
            _ => bail!("{head} is a value already"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_or_text() {
        let mut table = Table::new();
        for text in ["a=3", "b=true", "c=plain", "d=\"quoted\"", "e.f=[1, 2]", "g=10.0.0.1:80"] {
            let (key, value) = text.split_once('=').unwrap();
            insert(&mut table, key, parse_value(value)).unwrap();
        }
        assert_eq!(table["a"], Value::Integer(3));
        assert_eq!(table["b"], Value::Boolean(true));
        assert_eq!(table["c"], Value::String("plain".into()));
        assert_eq!(table["d"], Value::String("quoted".into()));
        assert_eq!(table["e"]["f"], Value::Array(vec![1.into(), 2.into()]));
        assert_eq!(table["g"], Value::String("10.0.0.1:80".into()));
        assert!(insert(&mut table, "a.b", 1.into()).is_err());
    }
}
