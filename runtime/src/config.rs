//! Settings from four places: built-in defaults, a TOML file, the environment, flags; each wins over those before it.
//!
//! The settings of a daemon are a serde struct with `#[serde(default, deny_unknown_fields)]`, so its `Default` is the
//! built-in layer, and a key that nobody knows is an error that says where it stands. Checks that need more than one key
//! belong to the daemon.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What separates the parts of a nested key in a variable's name: `CAIRN_CHUNKSERVER_LOG__LEVEL` is `log.level`.
const NESTING: &str = "__";

/// Where settings come from.
#[derive(Clone, Debug)]
pub struct Sources {
    file: Option<PathBuf>,
    /// Environment variables that start with it are settings.
    prefix: &'static str,
    /// Keys that have the prefix but are no settings.
    ignored: &'static [&'static str],
    environment: Vec<(String, String)>,
}

/// A setting that cannot be used, and where it stands. One line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{place}: {message}")]
    Syntax { place: Place, message: String },
    #[error("{place}: unknown key `{key}`{}", known_keys(known))]
    UnknownKey { place: Place, key: String, known: &'static [&'static str] },
    #[error("{place}: `{key}`: {message}")]
    BadValue { place: Place, key: String, message: String },
    #[error("`{key}` is not set: set it in the configuration file, by {variable} or by its flag")]
    Missing { key: String, variable: String },
}

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Lines count from 1.
    File {
        path: PathBuf,
        line: Option<usize>,
    },
    Variable(String),
    Flags,
    Unknown,
}

impl Sources {
    /// The process's environment, those variables that start with `prefix` (`CAIRN_METASERVER_`); no file.
    pub fn new(prefix: &'static str) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { file: None, prefix, ignored: &[], environment }
    }

    /// A file that has to exist.
    pub fn with_file(mut self, path: Option<&Path>) -> Self {
        self.file = path.map(Path::to_owned);
        self
    }

    /// Keys (as in `config`, for `CAIRN_METASERVER_CONFIG`) that share the prefix but are no settings.
    pub fn ignoring(mut self, keys: &'static [&'static str]) -> Self {
        self.ignored = keys;
        self
    }

    /// Another environment than the process's own.
    pub fn with_environment(mut self, environment: Vec<(String, String)>) -> Self {
        self.environment = environment;
        self
    }

    /// Reads everything. `flags` serialises to the keys of `C`; what is `None` in it is not set.
    pub fn load<C: DeserializeOwned>(&self, flags: &impl Serialize) -> Result<C, ConfigError> {
        let file = self.file.as_deref().map(ConfigFile::read).transpose()?;
        let mut figment = Figment::new();
        if let Some(file) = &file {
            figment = figment.merge(Layer { name: FILE_LAYER.into(), settings: Toml::string(&file.text) });
        }
        for (variable, key, value) in self.variables() {
            figment = figment.merge(Layer { name: variable, settings: Serialized::default(&key, value) });
        }
        figment = figment.merge(Layer { name: FLAG_LAYER.into(), settings: Set(flags) });
        figment.extract().map_err(|error| self.explain(error, &figment, file.as_ref()))
    }

    /// Name, key and value of each variable that is a setting.
    fn variables(&self) -> impl Iterator<Item = (String, String, Value)> {
        self.environment.iter().filter_map(|(name, text)| {
            let key = name.strip_prefix(self.prefix)?.to_lowercase();
            if self.ignored.contains(&key.as_str()) {
                return None;
            }
            let value = text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {});
            Some((name.clone(), key.replace(NESTING, "."), value))
        })
    }

    fn explain(&self, error: figment::Error, figment: &Figment, file: Option<&ConfigFile>) -> ConfigError {
        let mut path = error.path.clone();
        match &error.kind {
            Kind::UnknownField(_, known) => {
                ConfigError::UnknownKey { place: place_of(&path, figment, file), key: path.join("."), known }
            }
            Kind::MissingField(name) => {
                path.push(name.to_string());
                let variable = format!("{}{}", self.prefix, path.join(NESTING).to_uppercase());
                ConfigError::Missing { key: path.join("."), variable }
            }
            kind => ConfigError::BadValue {
                place: place_of(&path, figment, file),
                key: path.join("."),
                message: kind.to_string(),
            },
        }
    }
}

const FILE_LAYER: &str = "file";
const FLAG_LAYER: &str = "flags";

fn place_of(key: &[String], figment: &Figment, file: Option<&ConfigFile>) -> Place {
    let layer = figment.find_metadata(&key.join(".")).map(|metadata| metadata.name.as_ref());
    match (layer, file) {
        (Some(FLAG_LAYER), _) => Place::Flags,
        (Some(FILE_LAYER), Some(file)) => Place::File { path: file.path.clone(), line: file.line_of(key) },
        (Some(variable), _) => Place::Variable(variable.to_owned()),
        (None, _) => Place::Unknown,
    }
}

fn known_keys(known: &[&str]) -> String {
    if known.is_empty() { String::new() } else { format!(" (known here: {})", known.join(", ")) }
}

/// A file whose syntax is right.
#[derive(Debug)]
struct ConfigFile {
    path: PathBuf,
    text: String,
}

impl ConfigFile {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let file = Self { path: path.to_owned(), text };
        match toml::de::DeTable::parse(&file.text) {
            Ok(_) => Ok(file),
            Err(error) => {
                let line = error.span().map(|span| file.line_at(span.start));
                let message = error.message().replace('\n', "; ");
                Err(ConfigError::Syntax { place: Place::File { path: file.path, line }, message })
            }
        }
    }

    /// The line on which the key stands.
    fn line_of(&self, key: &[String]) -> Option<usize> {
        let root = toml::de::DeTable::parse(&self.text).ok()?.into_inner();
        let mut table = &root;
        let (last, parents) = key.split_last()?;
        for part in parents {
            let (_, value) = table.iter().find(|(name, _)| name.get_ref() == part)?;
            table = value.get_ref().as_table()?;
        }
        let (name, _) = table.iter().find(|(name, _)| name.get_ref() == last)?;
        Some(self.line_at(name.span().start))
    }

    fn line_at(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
    }
}

/// A provider under a name of ours, by which a setting's place is known later.
struct Layer<P> {
    name: String,
    settings: P,
}

impl<P: Provider> Provider for Layer<P> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        self.settings.data()
    }
}

/// What is set in a struct of options.
struct Set<'a, T>(&'a T);

impl<T: Serialize> Provider for Set<'_, T> {
    fn metadata(&self) -> Metadata {
        Metadata::default()
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        let mut layers = Serialized::defaults(self.0).data()?;
        for settings in layers.values_mut() {
            remove_unset(settings);
        }
        Ok(layers)
    }
}

/// Removes what would overrule the other layers by being nothing.
fn remove_unset(settings: &mut Dict) {
    settings.retain(|_, value| match value {
        Value::Empty(..) => false,
        Value::Dict(_, inner) => {
            remove_unset(inner);
            !inner.is_empty()
        }
        _ => true,
    });
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flags => f.write_str("command line"),
            Self::Unknown => f.write_str("configuration"),
        }
    }
}

#[cfg(test)]
mod tests;
