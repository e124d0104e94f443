//! Settings of the metaserver: as they are written down, and as they are used.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cairn_proto::chunk::MAX_COPIES;
use cairn_proto::policy::{Durability, PlacementId, Policy};
use cairn_proto::transport::{Endpoint, EndpointError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cluster::balance::BalanceSettings;
use crate::cluster::repair::throttle::Limits;
use crate::cluster::state::Thresholds;

/// What stands in `metaserver.toml`, in `CAIRN_METASERVER_…` and in flags. Every key has a default but `data_dir`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetaserverConfig {
    /// Directory of the log, the checkpoints and the materialised state. Created where it does not exist; a new one becomes a new
    /// cluster.
    pub data_dir: PathBuf,
    /// Where clients, chunkservers and `cairn` commands connect to: `host:port` or `unix:/path`. Port 0 takes a free one.
    pub listen: String,
    /// The address to tell others, where it is not the one listened at (behind a NAT, or when listening at all addresses).
    pub advertise: Option<String>,
    /// Where `/healthz` and `/readyz` are answered over HTTP: `address:port`. Empty: nowhere.
    pub health_listen: String,

    /// Of a new cluster: copies of each chunk, unless a directory says otherwise (1 to 9).
    pub copies: u8,
    /// Of a new cluster: permission bits of the root directory, in octal.
    pub root_mode: String,
    /// Of a new cluster: owner of the root directory; unless set, the user that runs the metaserver.
    pub root_uid: Option<u32>,
    /// Of a new cluster: group of the root directory; unless set, that of the metaserver.
    pub root_gid: Option<u32>,

    /// Seconds of silence after which a client's session is given up, with its open files.
    pub session_term_s: u64,
    /// Leases of all clients together, about 150 bytes each. When they become so many, clients are asked to give some back.
    pub max_leases: usize,
    /// Milliseconds between heartbeats of a chunkserver.
    pub heartbeat_ms: u64,
    /// Milliseconds of silence after which a chunkserver gets no new chunks.
    pub suspect_after_ms: u64,
    /// Milliseconds of silence after which a chunkserver's chunks are repaired elsewhere.
    pub dead_after_ms: u64,
    /// Seconds that a chunkserver which was stopped in good order may stay away before it counts as dead.
    pub stopped_grace_s: u64,
    /// Bytes that a chunkserver must have free to be given new chunks.
    pub placement_reserve_bytes: u64,

    /// Chunks repaired at the same time.
    pub repair_concurrency: usize,
    /// Bytes copied per second for repair, all together; 0: no limit. `cairn repair limit` changes it while the cluster runs.
    pub repair_bytes_per_s: u64,
    /// The same, to and from one chunkserver; while clients keep it busy, a quarter of it. 0: no limit.
    pub repair_server_bytes_per_s: u64,
    /// A chunkserver that is fuller than all are on average by more than so many percent of its size gives copies to emptier ones.
    pub balance_threshold_percent: u8,
    /// Bytes moved per second for that; 0: nothing is moved.
    pub balance_bytes_per_s: u64,
    /// Seconds between two passes over all chunks when nothing has happened.
    pub census_interval_s: u64,
    /// Seconds after which a chunk that was left dirty, and that nobody has open for writing, is reconciled.
    pub reconcile_after_s: u64,

    /// Seconds that copies of deleted files, and copies that nobody needs, are kept on the chunkservers' disks. A server that is short of
    /// space is not made to wait.
    pub garbage_grace_s: u64,

    /// Bytes that must stay free on the disk of `data_dir`: below, what takes space is refused. Below half of it everything is.
    pub reserve_bytes: u64,
    /// Commands after which a checkpoint is taken and the log before it dropped.
    pub checkpoint_every: u64,
}

impl Default for MetaserverConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            listen: "0.0.0.0:7400".to_owned(),
            advertise: None,
            health_listen: "0.0.0.0:7480".to_owned(),
            copies: 2,
            root_mode: "755".to_owned(),
            root_uid: None,
            root_gid: None,
            session_term_s: 15,
            max_leases: 2 << 20,
            heartbeat_ms: 1000,
            suspect_after_ms: 10_000,
            dead_after_ms: 60_000,
            stopped_grace_s: 600,
            placement_reserve_bytes: 16 << 20,
            repair_concurrency: 4,
            repair_bytes_per_s: 0,
            repair_server_bytes_per_s: 128 << 20,
            balance_threshold_percent: 5,
            balance_bytes_per_s: 32 << 20,
            census_interval_s: 10,
            reconcile_after_s: 30,
            garbage_grace_s: 60,
            reserve_bytes: 64 << 20,
            checkpoint_every: 500_000,
        }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigProblem {
    #[error("`data_dir` is not set: it says where the metadata are kept")]
    NoDataDir,
    #[error("`{key}`: {source}")]
    Endpoint { key: &'static str, source: EndpointError },
    #[error("`health_listen`: `{0}` is no address:port")]
    HealthListen(String),
    #[error("`copies` = {0}: 1 to {MAX_COPIES} copies can be kept")]
    Copies(u8),
    #[error("`root_mode`: `{0}` are no permission bits (octal, as in 755)")]
    RootMode(String),
    #[error("`{key}` = {value}: {expected}")]
    OutOfRange { key: &'static str, value: u64, expected: &'static str },
}

/// The settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub listen: Endpoint,
    /// Where it differs from the bound address.
    pub advertise: Option<Endpoint>,
    pub health_listen: Option<SocketAddr>,
    pub new_cluster: NewCluster,
    pub session_term: Duration,
    pub max_leases: usize,
    pub heartbeat: Duration,
    pub thresholds: Thresholds,
    pub placement_reserve: u64,
    pub repair: RepairSettings,
    pub balance: BalanceSettings,
    pub reconcile_after: Duration,
    pub garbage_grace: Duration,
    /// Bytes.
    pub reserve: u64,
    /// Commands.
    pub checkpoint_every: u64,
}

/// What only the first start of a cluster asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewCluster {
    pub policy: Policy,
    pub root_mode: u32,
    pub root_uid: u32,
    pub root_gid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairSettings {
    /// Chunks at the same time.
    pub concurrency: usize,
    pub limits: Limits,
    pub census_interval: Duration,
}

impl MetaserverConfig {
    /// Checks everything that can be checked without opening anything.
    pub fn check(self) -> Result<Settings, ConfigProblem> {
        let Self {
            data_dir,
            listen,
            advertise,
            health_listen,
            copies,
            root_mode,
            root_uid,
            root_gid,
            session_term_s,
            max_leases,
            heartbeat_ms,
            suspect_after_ms,
            dead_after_ms,
            stopped_grace_s,
            placement_reserve_bytes,
            repair_concurrency,
            repair_bytes_per_s,
            repair_server_bytes_per_s,
            balance_threshold_percent,
            balance_bytes_per_s,
            census_interval_s,
            reconcile_after_s,
            garbage_grace_s,
            reserve_bytes,
            checkpoint_every,
        } = self;
        if data_dir.as_os_str().is_empty() {
            return Err(ConfigProblem::NoDataDir);
        }
        if !(1..=MAX_COPIES).contains(&copies) {
            return Err(ConfigProblem::Copies(copies));
        }
        at_least("session_term_s", session_term_s, 1, "a term has at least a second")?;
        at_least("max_leases", max_leases as u64, 1024, "clients need some leases to work with")?;
        at_least("heartbeat_ms", heartbeat_ms, 10, "at least 10 ms lie between heartbeats")?;
        at_least(
            "suspect_after_ms",
            suspect_after_ms,
            2 * heartbeat_ms,
            "one lost heartbeat is no reason for suspicion",
        )?;
        at_least("dead_after_ms", dead_after_ms, suspect_after_ms, "suspicion comes before death")?;
        at_least("repair_concurrency", repair_concurrency as u64, 1, "repair needs at least one")?;
        at_least("census_interval_s", census_interval_s, 1, "a census needs a second between passes")?;
        at_least("checkpoint_every", checkpoint_every, 1, "a checkpoint covers at least one command")?;
        if balance_threshold_percent > 100 {
            let value = u64::from(balance_threshold_percent);
            let expected = "0 to 100 percent";
            return Err(ConfigProblem::OutOfRange { key: "balance_threshold_percent", value, expected });
        }
        let policy = Policy { copies, durability: Durability::default(), placement: PlacementId::ANYWHERE };
        Ok(Settings {
            data_dir,
            listen: parse_endpoint("listen", &listen)?,
            advertise: advertise.map(|text| parse_endpoint("advertise", &text)).transpose()?,
            health_listen: parse_health(health_listen)?,
            new_cluster: NewCluster {
                policy,
                root_mode: parse_mode(root_mode)?,
                root_uid: root_uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
                root_gid: root_gid.unwrap_or_else(|| nix::unistd::getegid().as_raw()),
            },
            session_term: Duration::from_secs(session_term_s),
            max_leases,
            heartbeat: Duration::from_millis(heartbeat_ms),
            thresholds: Thresholds {
                suspect_after: Duration::from_millis(suspect_after_ms),
                dead_after: Duration::from_millis(dead_after_ms),
                stopped_grace: Duration::from_secs(stopped_grace_s),
            },
            placement_reserve: placement_reserve_bytes,
            repair: RepairSettings {
                concurrency: repair_concurrency,
                limits: Limits { cluster: limit(repair_bytes_per_s), server: limit(repair_server_bytes_per_s) },
                census_interval: Duration::from_secs(census_interval_s),
            },
            balance: BalanceSettings { threshold: balance_threshold_percent, bytes_per_s: balance_bytes_per_s },
            reconcile_after: Duration::from_secs(reconcile_after_s),
            garbage_grace: Duration::from_secs(garbage_grace_s),
            reserve: reserve_bytes,
            checkpoint_every,
        })
    }
}

fn at_least(key: &'static str, value: u64, least: u64, expected: &'static str) -> Result<(), ConfigProblem> {
    if value < least { Err(ConfigProblem::OutOfRange { key, value, expected }) } else { Ok(()) }
}

/// 0 is none.
fn limit(bytes_per_s: u64) -> Option<u64> {
    Some(bytes_per_s).filter(|&rate| rate > 0)
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

fn parse_mode(text: String) -> Result<u32, ConfigProblem> {
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if mode <= cairn_proto::attr::MODE_BITS => Ok(mode),
        _ => Err(ConfigProblem::RootMode(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MetaserverConfig {
        MetaserverConfig { data_dir: "/var/lib/cairn".into(), ..MetaserverConfig::default() }
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let settings = config().check().unwrap();
        assert_eq!(settings.session_term, Duration::from_secs(15));
        assert_eq!(settings.thresholds, Thresholds::default());
        assert_eq!(settings.new_cluster.root_mode, 0o755);
        assert_eq!(settings.repair.limits, Limits { cluster: None, server: Some(128 << 20) });
    }

    #[test]
    fn problems_name_their_key() {
        assert_eq!(MetaserverConfig::default().check(), Err(ConfigProblem::NoDataDir));
        for (bad, named) in [
            (MetaserverConfig { copies: 0, ..config() }, "`copies`"),
            (MetaserverConfig { copies: 10, ..config() }, "`copies`"),
            (MetaserverConfig { listen: "nowhere".into(), ..config() }, "`listen`"),
            (MetaserverConfig { health_listen: "x".into(), ..config() }, "`health_listen`"),
            (MetaserverConfig { root_mode: "9".into(), ..config() }, "`root_mode`"),
            (MetaserverConfig { session_term_s: 0, ..config() }, "`session_term_s`"),
            (MetaserverConfig { suspect_after_ms: 1500, ..config() }, "`suspect_after_ms`"),
            (MetaserverConfig { dead_after_ms: 9000, ..config() }, "`dead_after_ms`"),
        ] {
            let problem = bad.check().unwrap_err().to_string();
            assert!(problem.starts_with(named), "{problem}");
        }
    }
}
