//! `cairn repair`, and what `cairn status` says of it.

use std::fmt::{self, Display, Formatter};

use cairn_proto::admin::RepairStatus;
use serde::Serialize;

use super::{bytes, millis};

#[derive(Debug, Serialize)]
pub struct RepairView {
    pub paused: bool,
    /// Bytes per second; `null`: no limit.
    pub limit: Option<u64>,
    /// The same, for one server.
    pub server_limit: Option<u64>,
    pub queue: u64,
    /// Chunks with one good copy left, or none, that should have more.
    pub at_risk: u64,
    pub oldest_exposure_ms: Option<u64>,
    /// Bytes.
    pub to_copy: u64,
    /// Bytes per second, of late.
    pub rate: u64,
    pub seconds_left: Option<u64>,
}

impl From<RepairStatus> for RepairView {
    fn from(status: RepairStatus) -> Self {
        let seconds_left = status.seconds_left();
        let RepairStatus { paused, bytes_per_s, server_bytes_per_s, queue, at_risk, oldest_exposure_ms, to_copy, rate } =
            status;
        let (limit, server_limit) = (bytes_per_s, server_bytes_per_s);
        Self { paused, limit, server_limit, queue, at_risk, oldest_exposure_ms, to_copy, rate, seconds_left }
    }
}

impl Display for RepairView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.paused {
            f.write_str("paused (`cairn repair resume` lets it go on): ")?;
        }
        write!(f, "{} chunks wait, {} at risk", self.queue, self.at_risk)?;
        if let Some(oldest) = self.oldest_exposure_ms {
            write!(f, ", the oldest for {}", millis(oldest))?;
        }
        write!(f, "; {} to copy, {}/s", bytes(self.to_copy), bytes(self.rate))?;
        match self.seconds_left {
            Some(seconds) if seconds > 0 => write!(f, ", done in {}", millis(seconds * 1000))?,
            Some(_) | None => {}
        }
        let limit = |rate: Option<u64>| rate.map_or_else(|| "no limit".to_owned(), |rate| format!("{}/s", bytes(rate)));
        write!(f, " (limits: cluster {}, server {})", limit(self.limit), limit(self.server_limit))
    }
}
