//! `cairn fsck`.

use cairn_proto::admin::Finding;
use serde::Serialize;

use super::bytes;

#[derive(Debug, Serialize, Default)]
pub struct FsckView {
    pub inodes_checked: u64,
    pub chunks_checked: u64,
    pub bytes_verified: u64,
    pub findings: Vec<FindingView>,
}

#[derive(Debug, Serialize)]
pub struct FindingView {
    pub kind: String,
    pub inode: Option<u64>,
    pub chunk: Option<u64>,
    pub server: Option<String>,
    pub what: String,
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        let Finding { kind, inode, chunk, server, what } = finding;
        Self { kind, inode: inode.map(|i| i.0), chunk: chunk.map(|c| c.0), server: server.map(|s| s.to_string()), what }
    }
}

impl FsckView {
    pub fn print(&self) {
        for finding in &self.findings {
            println!("{}: {}", finding.kind, finding.what);
        }
        let (inodes, chunks) = (self.inodes_checked, self.chunks_checked);
        let verified =
            if self.bytes_verified > 0 { format!(", {} read", bytes(self.bytes_verified)) } else { String::new() };
        match self.findings.len() {
            0 => println!("{inodes} inodes and {chunks} chunks checked{verified}: nothing wrong"),
            n => println!("{inodes} inodes and {chunks} chunks checked{verified}: {n} finding(s)"),
        }
    }
}
