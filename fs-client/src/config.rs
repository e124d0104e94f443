//! What a mount is configured with: the settings as users write them, and the running configuration made of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cairn_proto::ids::SessionId;
use cairn_proto::labels::{LabelError, Labels};
use cairn_proto::transport::Endpoint;
use cairn_runtime::host;
use serde::{Deserialize, Serialize};

use crate::cache::{DEFAULT_ATTRS, DEFAULT_NAMES};
use crate::io::{HedgeLimits, IoConfig};
use crate::vfs::VfsOptions;

const MIB: u64 = 1 << 20;

/// Options that begin like this are others' business: those of `mount` by its own convention, and those that the kernel shows in
/// the mount table, which come back with a remount.
const IGNORED_PREFIXES: [&str; 8] =
    ["x-", "comment=", "user_id=", "group_id=", "fsname=", "subtype=", "max_read=", "blksize="];

/// Settings of a client, as in its configuration file. Each can also be given to `mount` with `-o key=value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    /// Inodes whose attributes are remembered.
    pub cached_attrs: usize,
    /// Names that are remembered.
    pub cached_names: usize,
    /// MiB of file contents remembered.
    pub cache_mib: u64,
    /// MiB written by programs and not yet taken by the chunkservers; writers wait beyond.
    pub write_back_mib: u64,
    /// MiB that one sequential reader is kept ahead at most.
    pub read_ahead_mib: u64,
    /// Where this machine stands, as in `rack=r1`: of several copies the nearest is read. Without `host` it is the name of the machine.
    /// As a mount option they are joined by `+`.
    pub labels: Vec<String>,
    /// Reads of a hundred that may be sent to a second chunkserver because the first takes long. 0: none.
    pub hedge_percent: u64,
    /// Threads that take requests from the kernel.
    pub threads: usize,
    /// Seconds that operations wait for servers that are away before they fail with `EIO`. 0: for as long as it takes.
    pub timeout: u64,
    /// Milliseconds to try for a first connection.
    pub start_timeout_ms: u64,
    /// Milliseconds that the end of a mount may wait for written data to reach its servers, and for open files to be closed.
    pub stop_timeout_ms: u64,
    /// Where `/healthz` and `/readyz` are answered over HTTP: `address:port`. Empty: nowhere.
    pub health_listen: String,
    /// Let users other than the one who mounts use the file system. Without it, not even root may.
    pub allow_other: bool,
    pub read_only: bool,
    /// Keep no access times.
    pub noatime: bool,
    pub nosuid: bool,
    pub nodev: bool,
    pub noexec: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        let io = IoConfig::default();
        Self {
            cached_attrs: DEFAULT_ATTRS,
            cached_names: DEFAULT_NAMES,
            cache_mib: io.cache_bytes as u64 / MIB,
            write_back_mib: io.write_back_bytes as u64 / MIB,
            read_ahead_mib: io.read_ahead_bytes / MIB,
            labels: Vec::new(),
            hedge_percent: u64::from(io.hedging.percent),
            threads: 4,
            timeout: 0,
            start_timeout_ms: 10_000,
            stop_timeout_ms: 30_000,
            health_listen: String::new(),
            allow_other: true,
            read_only: false,
            noatime: false,
            nosuid: false,
            nodev: false,
            noexec: false,
        }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    #[error("unknown mount option `{0}`")]
    Unknown(String),
    #[error("mount option `{key}` wants a number, not `{value}`")]
    NotANumber { key: String, value: String },
    #[error("`health_listen` wants an address and a port, not `{0}`")]
    NotAnAddress(String),
    #[error("`labels`: {0}")]
    Labels(#[from] LabelError),
    #[error("`{key}` must be between {least} and {most}")]
    OutOfRange { key: &'static str, least: u64, most: u64 },
}

impl ClientConfig {
    /// Takes mount options, as after `-o`: `ro,noatime,timeout=30`. Those that concern `mount` itself are ignored.
    pub fn apply_options(&mut self, options: &str) -> Result<(), OptionError> {
        options.split(',').filter(|option| !option.is_empty()).try_for_each(|option| self.apply_option(option))
    }

    fn apply_option(&mut self, option: &str) -> Result<(), OptionError> {
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "noatime" => self.noatime = true,
            "relatime" | "atime" => self.noatime = false,
            "nosuid" => self.nosuid = true,
            "suid" => self.nosuid = false,
            "nodev" => self.nodev = true,
            "dev" => self.nodev = false,
            "noexec" => self.noexec = true,
            "exec" => self.noexec = false,
            "allow_other" => self.allow_other = true,
            "noallow_other" => self.allow_other = false,
            // For mount(8), systemd and their like; `x-…` options by their own convention.
            "defaults"
            | "auto"
            | "noauto"
            | "_netdev"
            | "nofail"
            | "async"
            | "user"
            | "nouser"
            | "users"
            | "group"
            | "default_permissions"
            | "nodiratime" => {}
            ignored if IGNORED_PREFIXES.iter().any(|prefix| ignored.starts_with(prefix)) => {}
            other => return self.apply_value(other),
        }
        Ok(())
    }

    fn apply_value(&mut self, option: &str) -> Result<(), OptionError> {
        let (key, value) = option.split_once('=').ok_or_else(|| OptionError::Unknown(option.to_owned()))?;
        match key {
            "health_listen" => self.health_listen = value.to_owned(),
            "labels" => self.labels = value.split('+').map(ToOwned::to_owned).collect(),
            _ => return self.apply_number(option, key, value),
        }
        Ok(())
    }

    fn apply_number(&mut self, option: &str, key: &str, value: &str) -> Result<(), OptionError> {
        let number: u64 =
            value.parse().map_err(|_| OptionError::NotANumber { key: key.to_owned(), value: value.to_owned() })?;
        match key {
            "cached_attrs" => self.cached_attrs = number as usize,
            "cached_names" => self.cached_names = number as usize,
            "cache_mib" => self.cache_mib = number,
            "write_back_mib" => self.write_back_mib = number,
            "read_ahead_mib" => self.read_ahead_mib = number,
            "hedge_percent" => self.hedge_percent = number,
            "threads" => self.threads = number as usize,
            "timeout" => self.timeout = number,
            "start_timeout_ms" => self.start_timeout_ms = number,
            "stop_timeout_ms" => self.stop_timeout_ms = number,
            _ => return Err(OptionError::Unknown(option.to_owned())),
        }
        Ok(())
    }

    /// Checks what a single setting cannot say of itself.
    pub fn validate(&self) -> Result<(), OptionError> {
        let bounds = [
            ("threads", self.threads as u64, 1, 64),
            ("cached_attrs", self.cached_attrs as u64, 32, 1 << 30),
            ("cached_names", self.cached_names as u64, 32, 1 << 30),
            ("cache_mib", self.cache_mib, 1, 1 << 24),
            ("write_back_mib", self.write_back_mib, 4, 1 << 24),
            ("read_ahead_mib", self.read_ahead_mib, 0, 1 << 10),
            ("hedge_percent", self.hedge_percent, 0, 100),
        ];
        for (key, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(OptionError::OutOfRange { key, least, most });
            }
        }
        self.labels()?;
        self.health_address().map(|_| ())
    }

    pub(crate) fn vfs_options(&self) -> VfsOptions {
        VfsOptions {
            cached_attrs: self.cached_attrs,
            cached_names: self.cached_names,
            atime: !self.noatime && !self.read_only,
        }
    }

    pub(crate) fn io_config(&self) -> Result<IoConfig, OptionError> {
        let patience = self.timeout();
        let io = IoConfig::default();
        Ok(IoConfig {
            write_back_bytes: (self.write_back_mib * MIB) as usize,
            cache_bytes: (self.cache_mib * MIB) as usize,
            read_ahead_bytes: self.read_ahead_mib * MIB,
            write_patience: patience,
            read_patience: patience,
            hedging: HedgeLimits { percent: self.hedge_percent as u32, ..io.hedging },
            labels: self.labels()?,
            ..io
        })
    }

    fn labels(&self) -> Result<Labels, OptionError> {
        let labels = Labels::parse(&self.labels)?;
        // A name that cannot be a label is no chunkserver's either.
        Ok(labels.clone().on_host(&host::name()).unwrap_or(labels))
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        (self.timeout > 0).then(|| Duration::from_secs(self.timeout))
    }

    /// Where health checks are answered, if they are.
    pub(crate) fn health_address(&self) -> Result<Option<SocketAddr>, OptionError> {
        if self.health_listen.is_empty() {
            return Ok(None);
        }
        self.health_listen.parse().map(Some).map_err(|_| OptionError::NotAnAddress(self.health_listen.clone()))
    }

    pub(crate) fn stop_timeout(&self) -> Duration {
        Duration::from_millis(self.stop_timeout_ms)
    }
}

/// One mount.
#[derive(Clone, Debug)]
pub struct MountConfig {
    pub metaserver: Endpoint,
    /// An existing directory.
    pub mountpoint: PathBuf,
    /// The session of a client that was mounted there and is dead: it is ended first.
    pub successor_of: Option<SessionId>,
    pub client: ClientConfig,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_as_in_fstab() {
        let mut config = ClientConfig::default();
        config.apply_options("defaults,_netdev,ro,noatime,threads=3,x-systemd.automount,timeout=5").unwrap();
        assert!(config.read_only && config.noatime);
        assert_eq!((config.threads, config.timeout()), (3, Some(Duration::from_secs(5))));
        config.apply_options("rw,relatime,user_id=0,group_id=0,default_permissions").unwrap();
        assert!(!config.read_only && !config.noatime);
        assert_eq!(config.apply_options("rw,bogus"), Err(OptionError::Unknown("bogus".into())));
        let not_a_number = OptionError::NotANumber { key: "threads".into(), value: "many".into() };
        assert_eq!(config.apply_options("threads=many"), Err(not_a_number));
    }

    #[test]
    fn a_mount_says_where_it_stands() {
        let mut config = ClientConfig::default();
        config.apply_options("labels=rack=r1+zone=z1,ro").unwrap();
        let labels = config.io_config().unwrap().labels;
        assert!(config.read_only && labels.satisfy(&"rack=r1,zone=z1".parse().unwrap()), "{labels}");
        assert_eq!(labels.get("host").map(ToOwned::to_owned), Some(host::name()));
        config.apply_options("labels=host=h").unwrap();
        assert_eq!(config.io_config().unwrap().labels.to_string(), "host=h");
        config.apply_options("labels=rack").unwrap();
        assert_eq!(config.validate(), Err(OptionError::Labels(LabelError::NoValue("rack".into()))));
    }

    #[test]
    fn limits_are_checked() {
        let config = ClientConfig { threads: 0, ..ClientConfig::default() };
        assert_eq!(config.validate(), Err(OptionError::OutOfRange { key: "threads", least: 1, most: 64 }));
        assert_eq!(ClientConfig::default().validate(), Ok(()));
    }
}
