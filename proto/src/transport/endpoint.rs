//! Where a service listens: a TCP port of a host, or a Unix socket.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands before the path of a Unix socket.
const UNIX_PREFIX: &str = "unix:";

/// Longest path of a Unix socket, bytes (`sun_path` holds 108, the closing zero included).
const MAX_UNIX_PATH_BYTES: usize = 107;

/// The address of a service, written `host:port`, `[v6]:port` or `unix:/path`.
///
/// Names are resolved at each connect, never when parsed. Serialised as its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// A TCP port. `host` is a name or an address, an IPv6 one without its brackets.
    Tcp { host: String, port: u16 },
    /// A Unix socket at an absolute path.
    Unix(PathBuf),
}

/// Why a text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("`{0}` has no port: write host:port, [v6]:port or unix:/path")]
    NoPort(String),
    #[error("`{0}` has no host: write host:port, [v6]:port or unix:/path")]
    NoHost(String),
    #[error("`{text}`: `{port}` is no port number (0 to 65535)")]
    BadPort { text: String, port: String },
    #[error("`{0}`: an IPv6 address stands in brackets, as in [::1]:7000")]
    Ipv6WithoutBrackets(String),
    #[error("`{0}`: what stands in brackets is no IPv6 address")]
    BadIpv6(String),
    #[error("`{0}`: a host name holds letters, digits, `-`, `_` and `.` only")]
    BadHost(String),
    #[error("`{0}`: the path of a Unix socket is absolute")]
    RelativePath(String),
    #[error("`{0}`: the path of a Unix socket has at most {MAX_UNIX_PATH_BYTES} bytes")]
    LongPath(String),
}

impl Endpoint {
    /// The TCP port, where there is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
            Self::Unix(_) => None,
        }
    }

    /// Whether this can only be a service on this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            Self::Unix(_) => true,
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp { host: address.ip().to_string(), port: address.port() }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
            return parse_unix(text, path);
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| EndpointError::NoPort(text.to_owned()))?;
        let host = parse_host(text, host)?;
        let port = port.parse().map_err(|_| EndpointError::BadPort { text: text.to_owned(), port: port.to_owned() })?;
        Ok(Self::Tcp { host, port })
    }
}

fn parse_unix(text: &str, path: &str) -> Result<Endpoint, EndpointError> {
    if !path.starts_with('/') {
        return Err(EndpointError::RelativePath(text.to_owned()));
    }
    if path.len() > MAX_UNIX_PATH_BYTES {
        return Err(EndpointError::LongPath(text.to_owned()));
    }
    Ok(Endpoint::Unix(PathBuf::from(path)))
}

fn parse_host(text: &str, host: &str) -> Result<String, EndpointError> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(|| EndpointError::BadIpv6(text.to_owned()))?;
        let address: std::net::Ipv6Addr = inner.parse().map_err(|_| EndpointError::BadIpv6(text.to_owned()))?;
        return Ok(address.to_string());
    }
    if host.is_empty() {
        return Err(EndpointError::NoHost(text.to_owned()));
    }
    if host.contains(':') {
        return Err(EndpointError::Ipv6WithoutBrackets(text.to_owned()));
    }
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(EndpointError::BadHost(text.to_owned()));
    }
    Ok(host.to_owned())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["127.0.0.1:7000", "[::1]:0", "meta-1.example.org:65535", "unix:/run/cairn/meta.sock"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
            let stored = postcard::to_stdvec(&endpoint).unwrap();
            assert_eq!(postcard::from_bytes::<Endpoint>(&stored).unwrap(), endpoint);
        }
        assert_eq!("[0:0::1]:9".parse::<Endpoint>().unwrap().to_string(), "[::1]:9");
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str| text.parse::<Endpoint>().unwrap_err();
        assert_eq!(error("host"), EndpointError::NoPort("host".into()));
        assert_eq!(error(":80"), EndpointError::NoHost(":80".into()));
        assert_eq!(error("h:99999"), EndpointError::BadPort { text: "h:99999".into(), port: "99999".into() });
        assert_eq!(error("::1:80"), EndpointError::Ipv6WithoutBrackets("::1:80".into()));
        assert_eq!(error("[x]:80"), EndpointError::BadIpv6("[x]:80".into()));
        assert_eq!(error("[::1:80"), EndpointError::BadIpv6("[::1:80".into()));
        assert_eq!(error("a b:80"), EndpointError::BadHost("a b:80".into()));
        assert_eq!(error("unix:run"), EndpointError::RelativePath("unix:run".into()));
        let long = format!("unix:/{}", "x".repeat(MAX_UNIX_PATH_BYTES));
        assert_eq!(error(&long), EndpointError::LongPath(long.clone()));
    }

    #[test]
    fn knows_what_is_on_this_machine() {
        for (text, local) in [("localhost:1", true), ("127.9.9.9:1", true), ("[::1]:1", true), ("10.0.0.1:1", false)] {
            assert_eq!(text.parse::<Endpoint>().unwrap().is_local(), local, "{text}");
        }
        assert!("unix:/a".parse::<Endpoint>().unwrap().is_local());
    }
}
