//! Labels: what an operator says of a server, or of a client: where it stands, and what kind of disk it has.
//!
//! Some keys say where: `region`, `zone`, `rack`, `host`, each within the one before it. Placement spreads the copies of a chunk over
//! them, and readers prefer a copy that is near. Any other key (`class=ssd`) is only there for policies to demand.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Labels of one server, client or policy at most.
pub const MAX_LABELS: usize = 32;
/// Bytes in a key or a value at most.
pub const MAX_LABEL_BYTES: usize = 64;

/// A failure domain: what fails at once, from the narrowest to the widest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum Domain {
    Host,
    Rack,
    Zone,
    Region,
}

impl Domain {
    /// From the widest to the narrowest.
    pub const ALL: [Self; 4] = [Self::Region, Self::Zone, Self::Rack, Self::Host];

    /// The key of the label that says which.
    pub fn key(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Rack => "rack",
            Self::Zone => "zone",
            Self::Region => "region",
        }
    }
}

impl Display for Domain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// A text that is no label.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LabelError {
    #[error("`{0}` is no label: write KEY=VALUE, as in rack=r1")]
    NoValue(String),
    #[error("`{0}` is no label: keys and values are 1 to {MAX_LABEL_BYTES} letters, digits and any of - _ . : /")]
    BadText(String),
    #[error("label `{0}` is given twice")]
    Twice(String),
    #[error("more than {MAX_LABELS} labels")]
    TooMany,
}

/// Values by their keys.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, Default)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// From texts like `rack=r1`.
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, LabelError> {
        let mut labels = Self::default();
        for text in texts {
            let text = text.as_ref();
            let (key, value) = text.split_once('=').ok_or_else(|| LabelError::NoValue(text.to_owned()))?;
            if labels.0.contains_key(key) {
                return Err(LabelError::Twice(key.to_owned()));
            }
            labels.set(key, value)?;
        }
        Ok(labels)
    }

    /// Sets one label.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), LabelError> {
        if !is_text(key) || !is_text(value) {
            return Err(LabelError::BadText(format!("{key}={value}")));
        }
        self.0.insert(key.to_owned(), value.to_owned());
        if self.0.len() > MAX_LABELS { Err(LabelError::TooMany) } else { Ok(()) }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Which domain of this kind it is in, where a label says so.
    pub fn domain(&self, domain: Domain) -> Option<&str> {
        self.get(domain.key())
    }

    /// Whether all of `demanded` are among these.
    pub fn satisfy(&self, demanded: &Self) -> bool {
        demanded.iter().all(|(key, value)| self.get(key) == Some(value))
    }

    /// The same and on this host, unless they say on which.
    pub fn on_host(mut self, name: &str) -> Result<Self, LabelError> {
        if self.domain(Domain::Host).is_none() {
            self.set(Domain::Host.key(), name)?;
        }
        Ok(self)
    }

    /// Those that say where.
    pub fn domains(&self) -> Self {
        let says_where = |key: &str| Domain::ALL.iter().any(|domain| domain.key() == key);
        Self(
            self.0.iter().filter(|(key, _)| says_where(key)).map(|(key, value)| (key.clone(), value.clone())).collect(),
        )
    }

    /// In the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_text(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    (1..=MAX_LABEL_BYTES).contains(&text.len()) && text.chars().all(is_allowed)
}

impl Display for Labels {
    /// As `class=ssd,rack=r1`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (n, (key, value)) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            write!(f, "{key}={value}")?;
        }
        Ok(())
    }
}

impl FromStr for Labels {
    type Err = LabelError;

    /// From `class=ssd,rack=r1`; from nothing, none.
    fn from_str(text: &str) -> Result<Self, LabelError> {
        Self::parse(text.split(',').filter(|part| !part.is_empty()))
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = LabelError;

    fn try_from(map: BTreeMap<String, String>) -> Result<Self, LabelError> {
        let mut labels = Self::default();
        map.iter().try_for_each(|(key, value)| labels.set(key, value))?;
        Ok(labels)
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        let labels: Labels = "rack=r1,class=ssd".parse().unwrap();
        assert_eq!(labels.to_string(), "class=ssd,rack=r1");
        assert_eq!(labels.domain(Domain::Rack), Some("r1"));
        assert_eq!(labels.domain(Domain::Zone), None);
        assert_eq!("".parse(), Ok(Labels::default()));
        let bytes = postcard::to_stdvec(&labels).unwrap();
        assert_eq!(bytes, b"\x02\x05class\x03ssd\x04rack\x02r1");
        assert_eq!(postcard::from_bytes::<Labels>(&bytes).unwrap(), labels);
    }

    #[test]
    fn what_is_no_label_is_refused() {
        let refused = |text: &str| text.parse::<Labels>().unwrap_err();
        assert_eq!(refused("rack"), LabelError::NoValue("rack".into()));
        for text in ["=r1", "rack=", "ra ck=1", "rack=é"] {
            assert!(matches!(refused(text), LabelError::BadText(_)), "{text}");
        }
        assert_eq!(refused("rack=r1,rack=r2"), LabelError::Twice("rack".into()));
        let many: Vec<_> = (0..=MAX_LABELS).map(|n| format!("k{n}=v")).collect();
        assert_eq!(Labels::parse(many), Err(LabelError::TooMany));
        assert!(postcard::from_bytes::<Labels>(b"\x01\x01 \x01v").is_err(), "nor from the wire");
    }

    #[test]
    fn what_says_where() {
        let labels: Labels = "rack=r1,class=ssd".parse().unwrap();
        let at_home = labels.clone().on_host("h1").unwrap();
        assert_eq!(at_home.to_string(), "class=ssd,host=h1,rack=r1");
        assert_eq!(at_home.clone().on_host("h2"), Ok(at_home.clone()));
        assert_eq!(at_home.domains().to_string(), "host=h1,rack=r1");
        assert!(matches!(labels.on_host("h 1"), Err(LabelError::BadText(_))));
    }

    #[test]
    fn demands() {
        let labels: Labels = "rack=r1,class=ssd".parse().unwrap();
        assert!(labels.satisfy(&Labels::default()));
        assert!(labels.satisfy(&"class=ssd".parse().unwrap()));
        assert!(!labels.satisfy(&"class=hdd".parse().unwrap()));
        assert!(!labels.satisfy(&"zone=z1".parse().unwrap()));
    }
}
