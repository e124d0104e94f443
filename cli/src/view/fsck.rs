//! `cairn fsck`.

use cairn_proto::admin::Finding;
use cairn_proto::ids::ChunkHandle;
use serde::Serialize;

use super::bytes;
use crate::out::say;

#[derive(Debug, Serialize, Default)]
pub struct FsckView {
    pub inodes_checked: u64,
    pub chunks_checked: u64,
    pub bytes_verified: u64,
    pub findings: Vec<FindingView>,
    /// Repair was asked for.
    pub repair: bool,
    /// An operator has paused repair.
    pub repair_is_paused: bool,
}

#[derive(Debug, Serialize, Clone)]
pub struct FindingView {
    pub kind: String,
    pub inode: Option<u64>,
    pub chunk: Option<u64>,
    pub server: Option<String>,
    pub what: String,
    /// `cairn fsck --repair` does something about it.
    pub repairable: bool,
    /// It is not wrong any more.
    pub repaired: bool,
    /// What a person can do about it.
    pub advice: &'static str,
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        let Finding { kind, inode, chunk, server, what, repairable } = finding;
        let advice = advice(&kind, repairable);
        Self {
            kind,
            inode: inode.map(|i| i.0),
            chunk: chunk.map(|c| c.0),
            server: server.map(|s| s.to_string()),
            what,
            repairable,
            repaired: false,
            advice,
        }
    }
}

/// What to do about a fault that is there.
fn advice(kind: &str, repairable: bool) -> &'static str {
    match kind {
        "damaged-replica" => {
            "bring back a server with another copy of the chunk, or restore the file: `cairn info` shows the servers"
        }
        "missing-replica" | "short-replica" => {
            "bring back a server with another copy of the chunk; where there is none, restore the file"
        }
        "unreachable-replica" => {
            "bring that server back, or let `dead_after_ms` pass: its copies are then made elsewhere"
        }
        "version-ahead" | "unknown-chunk" => {
            "the metadata are older than this copy: were they restored? It is kept; with newer metadata it comes back"
        }
        "misplaced-replica" => {
            "take that server out of service (`cairn server drain`): its directory holds other servers' files"
        }
        _ if repairable => "`cairn fsck --repair` repairs it; where that fails the metaserver's log says why",
        _ => "a fault in the metadata: keep a copy of the metaserver's directory, and report it with its log",
    }
}

impl FsckView {
    /// The chunks that something is repaired of, each once.
    pub fn repairable(&self) -> Vec<ChunkHandle> {
        let mut chunks: Vec<_> =
            self.findings.iter().filter(|f| f.repairable).filter_map(|f| f.chunk).map(ChunkHandle).collect();
        chunks.sort_unstable();
        chunks.dedup();
        chunks
    }

    /// Takes in what is left after repair.
    pub fn repaired(&mut self, left: &[Finding]) {
        self.repair = true;
        let left: Vec<FindingView> = left.iter().cloned().map(Into::into).collect();
        let is_same = |a: &FindingView, b: &FindingView| (&a.kind, a.chunk, &a.server) == (&b.kind, b.chunk, &b.server);
        for finding in self.findings.iter_mut().filter(|f| f.repairable) {
            finding.repaired = !left.iter().any(|l| is_same(l, finding));
        }
        for new in left {
            if !self.findings.iter().any(|f| is_same(f, &new)) {
                self.findings.push(new);
            }
        }
    }

    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|f| f.repaired)
    }

    pub fn print(&self) {
        for finding in self.findings.iter().filter(|f| f.repaired) {
            say!("repaired: {}: {}", finding.kind, finding.what);
        }
        for finding in self.findings.iter().filter(|f| !f.repaired) {
            say!("{}: {}", finding.kind, finding.what);
            if self.repair || !finding.repairable {
                say!("    {}", finding.advice);
            }
        }
        let (inodes, chunks) = (self.inodes_checked, self.chunks_checked);
        let verified =
            if self.bytes_verified > 0 { format!(", {} read", bytes(self.bytes_verified)) } else { String::new() };
        let outcome = match (self.findings.len(), self.findings.iter().filter(|f| f.repaired).count()) {
            (0, _) => "nothing wrong".to_owned(),
            (n, repaired) if self.repair => format!("{n} finding(s), {repaired} repaired, {} left", n - repaired),
            (n, _) => format!("{n} finding(s)"),
        };
        say!("{inodes} inodes and {chunks} chunks checked{verified}: {outcome}");
        if !self.is_well() && self.repair_is_paused {
            say!("repair is paused: `cairn repair resume` lets it go on");
        }
        if !self.repair && self.findings.iter().any(|f| f.repairable) {
            say!("`cairn fsck --repair` repairs what can be repaired");
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::ids::ServerId;

    use super::*;

    fn finding(kind: &str, chunk: u64, repairable: bool) -> Finding {
        let server = Some(ServerId(Default::default()));
        Finding {
            kind: kind.into(),
            inode: None,
            chunk: Some(ChunkHandle(chunk)),
            server,
            what: "x".into(),
            repairable,
        }
    }

    #[test]
    fn what_is_not_found_again_is_repaired() {
        let found =
            [finding("diverged", 2, true), finding("missing-replica", 1, true), finding("wrong-nlink", 3, false)];
        let mut view = FsckView { findings: found.map(Into::into).to_vec(), ..Default::default() };
        assert_eq!(view.repairable(), [ChunkHandle(1), ChunkHandle(2)]);
        view.repaired(&[finding("missing-replica", 1, true), finding("damaged-replica", 2, true)]);
        let repaired: Vec<_> = view.findings.iter().map(|f| (f.kind.as_str(), f.repaired)).collect();
        let expected =
            [("diverged", true), ("missing-replica", false), ("wrong-nlink", false), ("damaged-replica", false)];
        assert_eq!(repaired, expected);
        assert!(!view.is_well());
    }
}
