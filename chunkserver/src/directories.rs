//! A setting that is one directory or several: `data_dir = "/a"` or `data_dir = ["/a", "/b"]`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// Directories, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directories(pub Vec<PathBuf>);

impl From<PathBuf> for Directories {
    fn from(path: PathBuf) -> Self {
        Self(vec![path])
    }
}

impl From<&str> for Directories {
    fn from(path: &str) -> Self {
        Path::new(path).to_owned().into()
    }
}

impl Serialize for Directories {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Directories {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore)
    }
}

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Directories;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a directory, or a list of directories")
    }

    fn visit_str<E: Error>(self, path: &str) -> Result<Directories, E> {
        Ok(path.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut paths: A) -> Result<Directories, A::Error> {
        let mut directories = Vec::new();
        while let Some(path) = paths.next_element()? {
            directories.push(path);
        }
        Ok(Directories(directories))
    }
}

#[cfg(test)]
mod tests {
    use cairn_runtime::config::Sources;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Config {
        data_dir: Directories,
    }

    #[derive(Serialize)]
    struct NoFlags {}

    fn from_variable(text: &str) -> Result<Vec<PathBuf>, String> {
        let sources = Sources::new("X_").with_environment(vec![("X_DATA_DIR".to_owned(), text.to_owned())]);
        sources.load(&NoFlags {}).map(|config: Config| config.data_dir.0).map_err(|error| error.to_string())
    }

    #[test]
    fn one_or_several_from_the_environment() {
        assert_eq!(from_variable("/a").unwrap(), [Path::new("/a")]);
        assert_eq!(from_variable(r#"["/a", "/b"]"#).unwrap(), [Path::new("/a"), Path::new("/b")]);
        let error = from_variable("7").unwrap_err();
        assert!(error.contains("X_DATA_DIR") && error.contains("a list of directories"), "{error}");
    }
}
