//! Disks of chunkservers, in `cairn status` and `cairn server list`.

use cairn_proto::disk::{DiskState, DiskStatus};
use serde::Serialize;

use super::bytes;

/// Of the table of disks.
pub const HEADS: [&str; 9] = ["DISK", "STATE", "SIZE>", "USED>", "FREE>", "COPIES>", "ERRORS>", "DIRECTORY", "ID"];

#[derive(Debug, Serialize)]
pub struct DiskView {
    pub id: String,
    /// Among the disks of its server.
    pub number: usize,
    pub path: String,
    pub state: &'static str,
    pub total: u64,
    pub free: u64,
    pub used: u64,
    pub chunks: u64,
    pub errors: u64,
    /// Of one that has failed.
    pub why: Option<String>,
}

/// In the order of their numbers.
pub fn views(disks: Vec<DiskStatus>) -> Vec<DiskView> {
    let view = |(number, disk): (usize, DiskStatus)| {
        let DiskStatus { disk, path, state, space, chunks, errors, why } = disk;
        let state = match state {
            DiskState::Ok => "ok",
            DiskState::Full => "full",
            DiskState::Failed => "failed",
        };
        let (total, free, used) = (space.total, space.free, space.used);
        DiskView { id: disk.to_string(), number, path, state, total, free, used, chunks, errors, why }
    };
    disks.into_iter().enumerate().map(view).collect()
}

impl DiskView {
    pub fn has_failed(&self) -> bool {
        self.state == "failed"
    }

    pub fn failure_in_words(&self) -> String {
        let why = self.why.as_deref().unwrap_or("for reasons unknown");
        format!("({}) has failed: {why}; replace it, and start its chunkserver again", self.path)
    }

    pub fn row(&self, server: &str) -> Vec<String> {
        vec![
            format!("{server}:{}", self.number),
            self.state.to_owned(),
            bytes(self.total),
            bytes(self.used),
            bytes(self.free),
            self.chunks.to_string(),
            self.errors.to_string(),
            self.path.clone(),
            self.id.clone(),
        ]
    }
}
