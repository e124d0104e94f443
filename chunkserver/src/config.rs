//! Settings of the chunkserver: as they are written down, and as they are used.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use cairn_proto::disk::MAX_DISKS;
use cairn_proto::labels::{LabelError, Labels};
use cairn_proto::transport::{Endpoint, EndpointError};
use cairn_runtime::host;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::directories::Directories;
use crate::store::StoreLimits;

/// Bytes in the longest name of a server.
const MAX_NAME_BYTES: usize = 255;

/// Seconds in the longest period of a scrub.
const LONGEST_SCRUB_PERIOD_S: u64 = 10 * 366 * 24 * 3600;

/// What stands in `chunkserver.toml`, in `CAIRN_CHUNKSERVER_…` and in flags. Every key has a default but `data_dir`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChunkserverConfig {
    /// Directory of the chunks, or one for each disk, as a list. Created where it does not exist; it belongs to one server of one cluster for
    /// ever. An empty one that comes later is a new disk.
    pub data_dir: Directories,
    /// Where clients and other chunkservers connect to: `host:port` or `unix:/path`. Port 0 takes a free one.
    pub listen: String,
    /// The address to tell others, where it is not the one listened at (behind a NAT, or when listening at all addresses).
    /// Unless set, a server that listens at all addresses is told of by the name of its host.
    pub advertise: Option<String>,
    /// Where `/healthz` and `/readyz` are answered over HTTP: `address:port`. Empty: nowhere.
    pub health_listen: String,
    /// All metaservers of the cluster. The server reports to each of them.
    pub metaservers: Vec<String>,
    /// By which people know the server, in `cairn status` and in logs. Empty: the name of the host.
    pub name: String,
    /// Where the server stands and what it is, as `key=value`: `region`, `zone`, `rack` and `host` say what fails together, and no two copies
    /// of a chunk are on one host; any other key is there for policies to ask for, as in `class=ssd`. Without `host`, the name of the host.
    pub labels: Vec<String>,

    /// Bytes of the file system that chunks never get, so that it is never really full.
    pub reserve_bytes: u64,
    /// Chunks kept open at most, a file each.
    pub open_chunks: usize,
    /// Milliseconds between heartbeats, where not as the metaserver says.
    pub heartbeat_ms: Option<u64>,
    /// Seconds in which every block of every copy is read once and compared with its checksum. 0: only when somebody says so, by
    /// `cairn scrub start`.
    pub scrub_period_s: u64,
}

impl Default for ChunkserverConfig {
    fn default() -> Self {
        Self {
            data_dir: Directories::default(),
            listen: "0.0.0.0:7410".to_owned(),
            advertise: None,
            health_listen: "0.0.0.0:7490".to_owned(),
            metaservers: vec!["127.0.0.1:7400".to_owned()],
            name: String::new(),
            labels: Vec::new(),
            reserve_bytes: 256 << 20,
            open_chunks: 1024,
            heartbeat_ms: None,
            scrub_period_s: 14 * 24 * 3600,
        }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigProblem {
    #[error("`data_dir` is not set: it says where the chunks are kept")]
    NoDataDir,
    #[error("`data_dir`: {0} directories; at most {MAX_DISKS}, each on a disk of its own")]
    TooManyDataDirs(usize),
    #[error("`{key}`: {source}")]
    Endpoint { key: &'static str, source: EndpointError },
    #[error("`health_listen`: `{0}` is no address:port")]
    HealthListen(String),
    #[error("`metaservers` is empty: name at least one")]
    NoMetaserver,
    #[error("`name`: at most {MAX_NAME_BYTES} bytes, none of them a control character")]
    Name,
    #[error("`labels`: {0}")]
    Labels(#[from] LabelError),
    #[error("`{key}` = {value}: {expected}")]
    OutOfRange { key: &'static str, value: u64, expected: &'static str },
}

/// The settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// At least one.
    pub data_dirs: Vec<PathBuf>,
    pub listen: Endpoint,
    /// Where it differs from the bound address.
    pub advertise: Option<Endpoint>,
    pub health_listen: Option<SocketAddr>,
    pub metaservers: Vec<Endpoint>,
    pub name: String,
    /// With a host.
    pub labels: Labels,
    pub limits: StoreLimits,
    /// Where not as the metaserver says.
    pub heartbeat: Option<Duration>,
    /// `None`: nothing is scrubbed but by order.
    pub scrub_period: Option<Duration>,
}

impl ChunkserverConfig {
    /// Checks everything that can be checked without touching the data.
    pub fn check(self) -> Result<Settings, ConfigProblem> {
        let Self {
            data_dir,
            listen,
            advertise,
            health_listen,
            metaservers,
            name,
            labels,
            reserve_bytes,
            open_chunks,
            heartbeat_ms,
            scrub_period_s,
        } = self;
        let Directories(data_dirs) = data_dir;
        if data_dirs.is_empty() || data_dirs.iter().any(|dir| dir.as_os_str().is_empty()) {
            return Err(ConfigProblem::NoDataDir);
        }
        if data_dirs.len() > MAX_DISKS {
            return Err(ConfigProblem::TooManyDataDirs(data_dirs.len()));
        }
        if metaservers.is_empty() {
            return Err(ConfigProblem::NoMetaserver);
        }
        if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return Err(ConfigProblem::Name);
        }
        let open_chunks = NonZeroUsize::new(open_chunks).ok_or(ConfigProblem::OutOfRange {
            key: "open_chunks",
            value: 0,
            expected: "at least one chunk is open at a time",
        })?;
        if let Some(value @ ..10) = heartbeat_ms {
            let expected = "at least 10 ms lie between heartbeats";
            return Err(ConfigProblem::OutOfRange { key: "heartbeat_ms", value, expected });
        }
        if scrub_period_s > LONGEST_SCRUB_PERIOD_S {
            let expected = "ten years at most; 0 for never";
            return Err(ConfigProblem::OutOfRange { key: "scrub_period_s", value: scrub_period_s, expected });
        }
        let listen = parse_endpoint("listen", &listen)?;
        Ok(Settings {
            data_dirs,
            advertise: advertise.map(|text| parse_endpoint("advertise", &text)).transpose()?,
            listen,
            health_listen: parse_health(health_listen)?,
            metaservers: metaservers
                .iter()
                .map(|text| parse_endpoint("metaservers", text))
                .collect::<Result<_, _>>()?,
            labels: Labels::parse(labels)?.on_host(&host::name())?,
            name: if name.is_empty() { host::name() } else { name },
            limits: StoreLimits { reserve_bytes, open_chunks },
            heartbeat: heartbeat_ms.map(Duration::from_millis),
            scrub_period: Some(scrub_period_s).filter(|&period| period > 0).map(Duration::from_secs),
        })
    }
}

impl Settings {
    /// The address to tell others, of a server that is bound to `bound`.
    pub fn told_endpoint(&self, bound: &Endpoint) -> Endpoint {
        match (&self.advertise, bound) {
            (Some(advertise), _) => advertise.clone(),
            (None, Endpoint::Tcp { host, port }) if is_unspecified(host) => {
                Endpoint::Tcp { host: host::name(), port: *port }
            }
            (None, bound) => bound.clone(),
        }
    }
}

fn is_unspecified(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

fn parse_endpoint(key: &'static str, text: &str) -> Result<Endpoint, ConfigProblem> {
    text.parse().map_err(|source| ConfigProblem::Endpoint { key, source })
}

fn parse_health(text: String) -> Result<Option<SocketAddr>, ConfigProblem> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| ConfigProblem::HealthListen(text))
}

#[cfg(test)]
mod tests {
    use cairn_proto::labels::Domain;

    use super::*;

    fn config() -> ChunkserverConfig {
        ChunkserverConfig { data_dir: "/var/lib/cairn/chunks".into(), ..ChunkserverConfig::default() }
    }

    #[test]
    fn the_defaults_hold() {
        let settings = config().check().unwrap();
        assert_eq!(settings.metaservers, ["127.0.0.1:7400".parse().unwrap()]);
        assert_eq!(settings.limits.reserve_bytes, 256 << 20);
        assert_eq!(settings.heartbeat, None);
        assert_eq!(settings.scrub_period, Some(Duration::from_secs(14 * 24 * 3600)));
        assert!(!settings.name.is_empty());
    }

    #[test]
    fn problems_name_their_key() {
        assert_eq!(ChunkserverConfig::default().check().unwrap_err(), ConfigProblem::NoDataDir);
        let empty = ChunkserverConfig { data_dir: Directories(vec!["/a".into(), "".into()]), ..config() };
        assert_eq!(empty.check().unwrap_err(), ConfigProblem::NoDataDir);
        let many = ChunkserverConfig { data_dir: Directories(vec!["/a".into(); MAX_DISKS + 1]), ..config() };
        assert_eq!(many.check().unwrap_err(), ConfigProblem::TooManyDataDirs(MAX_DISKS + 1));
        for (bad, named) in [
            (ChunkserverConfig { listen: "nowhere".into(), ..config() }, "`listen`"),
            (ChunkserverConfig { advertise: Some("x".into()), ..config() }, "`advertise`"),
            (ChunkserverConfig { health_listen: "x".into(), ..config() }, "`health_listen`"),
            (ChunkserverConfig { metaservers: Vec::new(), ..config() }, "`metaservers`"),
            (ChunkserverConfig { metaservers: vec!["x".into()], ..config() }, "`metaservers`"),
            (ChunkserverConfig { name: "a\nb".into(), ..config() }, "`name`"),
            (ChunkserverConfig { labels: vec!["rack".into()], ..config() }, "`labels`"),
            (ChunkserverConfig { open_chunks: 0, ..config() }, "`open_chunks`"),
            (ChunkserverConfig { heartbeat_ms: Some(9), ..config() }, "`heartbeat_ms`"),
            (ChunkserverConfig { scrub_period_s: u64::MAX, ..config() }, "`scrub_period_s`"),
        ] {
            let problem = bad.check().unwrap_err().to_string();
            assert!(problem.starts_with(named), "{problem}");
        }
    }

    #[test]
    fn every_server_says_on_which_host_it_is() {
        let labels = |texts: &[&str]| {
            let labels = texts.iter().map(|text| (*text).to_owned()).collect();
            ChunkserverConfig { labels, ..config() }.check().unwrap().labels
        };
        assert_eq!(labels(&["rack=r1"]).domain(Domain::Host), Some(host::name().as_str()));
        assert_eq!(labels(&["rack=r1", "host=h"]).to_string(), "host=h,rack=r1");
    }

    #[test]
    fn others_are_told_an_address_that_they_can_reach() {
        let settings = config().check().unwrap();
        let told = |settings: &Settings, bound: &str| settings.told_endpoint(&bound.parse().unwrap()).to_string();
        assert_eq!(told(&settings, "10.0.0.5:99"), "10.0.0.5:99");
        let everywhere = told(&settings, "0.0.0.0:99");
        assert!(everywhere.ends_with(":99") && !everywhere.starts_with("0.0.0.0"), "{everywhere}");
        let behind_nat = ChunkserverConfig { advertise: Some("example.org:1".into()), ..config() }.check().unwrap();
        assert_eq!(told(&behind_nat, "0.0.0.0:99"), "example.org:1");
    }
}
