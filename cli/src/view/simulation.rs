//! `cairn simulate`.

use std::collections::HashMap;

use cairn_proto::ids::InodeId;
use cairn_proto::simulation::{Outcome, Scenario, SimulatedCounts, SimulatedFile, SimulationPage};
use serde::Serialize;

use super::{bytes, millis, table};
use crate::out::say;

/// An answer that is put together.
#[derive(Debug)]
pub struct SimulationView {
    scenario: Scenario,
    max_files: usize,
    servers: Vec<String>,
    counts: SimulatedCounts,
    files: HashMap<InodeId, SimulatedFile>,
    files_in_all: u64,
    used: u64,
    free: u64,
    bytes_per_s: u64,
    balance_bytes_per_s: u64,
}

/// The whole answer.
#[derive(Debug, Serialize)]
pub struct Simulated {
    pub servers: Vec<String>,
    pub chunks: u64,
    pub lost: u64,
    pub unreadable: u64,
    pub reduced: u64,
    pub moved: u64,
    /// Chunks that should have more copies than there would be hosts.
    pub without_a_place: u64,
    /// Bytes.
    pub to_copy: u64,
    pub free_on_the_rest: u64,
    pub fits: bool,
    /// Until all is copied, at the limits as they are.
    pub seconds: Option<u64>,
    /// Percent of all space that is used, before and after.
    pub fill_before: f64,
    pub fill_after: f64,
    pub files_in_all: u64,
    /// The worst hit.
    pub files: Vec<FileView>,
}

#[derive(Debug, Serialize)]
pub struct FileView {
    pub path: Option<String>,
    pub inode: u64,
    pub outcome: &'static str,
    pub chunks: u64,
    pub bytes: u64,
}

impl SimulationView {
    pub fn new(scenario: Scenario, max_files: usize) -> Self {
        Self {
            scenario,
            max_files,
            servers: Vec::new(),
            counts: SimulatedCounts::default(),
            files: HashMap::new(),
            files_in_all: 0,
            used: 0,
            free: 0,
            bytes_per_s: 1,
            balance_bytes_per_s: 0,
        }
    }

    /// A file with many chunks may be in several pages.
    pub fn add(&mut self, page: SimulationPage) {
        self.counts.add(&page.counts);
        self.servers = page.servers;
        (self.used, self.free) = (page.used_by_the_rest, page.free_on_the_rest);
        (self.bytes_per_s, self.balance_bytes_per_s) = (page.bytes_per_s, page.balance_bytes_per_s);
        let unnamed = page.files_in_all - page.files.len() as u64;
        self.files_in_all += unnamed;
        for file in page.files {
            match self.files.get_mut(&file.inode) {
                Some(known) => {
                    known.outcome = known.outcome.max(file.outcome);
                    known.chunks += file.chunks;
                    known.bytes += file.bytes;
                }
                None => {
                    self.files_in_all += 1;
                    self.files.insert(file.inode, file);
                }
            }
        }
    }

    pub fn finished(self) -> Simulated {
        let Self { scenario, max_files, servers, counts, files, files_in_all, used, free, .. } = self;
        let mut files: Vec<_> = files.into_values().collect();
        files.sort_by(|a, b| b.outcome.cmp(&a.outcome).then(b.bytes.cmp(&a.bytes)).then(a.inode.cmp(&b.inode)));
        let size = used + free;
        let (to_copy, rate, after) = match scenario {
            Scenario::Add { servers, size: each } => {
                let added = u64::from(servers).saturating_mul(each);
                // As much goes to them as makes all equally full.
                let part = added as f64 / (size + added).max(1) as f64;
                ((used as f64 * part) as u64, self.balance_bytes_per_s, percent(used, size + added))
            }
            Scenario::Fail(_) | Scenario::Drain(_) => {
                (counts.to_copy, self.bytes_per_s, percent(used + counts.to_copy, size))
            }
        };
        Simulated {
            servers,
            chunks: counts.chunks,
            lost: counts.lost,
            unreadable: counts.unreadable,
            reduced: counts.reduced,
            moved: counts.moved,
            without_a_place: counts.without_a_place,
            to_copy,
            free_on_the_rest: free,
            fits: to_copy <= free || matches!(scenario, Scenario::Add { .. }),
            seconds: (rate > 0).then(|| to_copy.div_ceil(rate)),
            fill_before: percent(used, size),
            fill_after: after,
            files_in_all,
            files: files.into_iter().take(max_files).map(FileView::from).collect(),
        }
    }
}

impl From<SimulatedFile> for FileView {
    fn from(file: SimulatedFile) -> Self {
        let outcome = match file.outcome {
            Outcome::Moved => "moved",
            Outcome::Reduced => "fewer copies",
            Outcome::Unreadable => "unreadable",
            Outcome::Lost => "lost",
        };
        let path = file.path.map(|names| names.iter().map(|name| format!("/{name}")).collect());
        Self { path, inode: file.inode.0, outcome, chunks: file.chunks, bytes: file.bytes }
    }
}

fn percent(used: u64, size: u64) -> f64 {
    if size == 0 { 0.0 } else { used as f64 * 100.0 / size as f64 }
}

impl Simulated {
    pub fn print(&self) {
        if !self.servers.is_empty() {
            say!("servers   {}", self.servers.join(", "));
        }
        say!(
            "chunks    of {}: {} lost, {} unreadable, {} at fewer copies, {} moved",
            self.chunks,
            self.lost,
            self.unreadable,
            self.reduced,
            self.moved
        );
        let time = self.seconds.map_or_else(|| "never".to_owned(), |seconds| millis(seconds * 1000));
        say!("to copy   {}, done in {time} at the limits as they are", bytes(self.to_copy));
        say!(
            "space     {:.1} % used before, {:.1} % after; {} free on the others",
            self.fill_before,
            self.fill_after,
            bytes(self.free_on_the_rest)
        );
        if !self.fits {
            say!("          there is not enough room for it");
        }
        if self.without_a_place > 0 {
            say!("          {} chunks should have more copies than there would be hosts", self.without_a_place);
        }
        if self.files.is_empty() {
            return;
        }
        say!("");
        let mut rows = table::new(&["FILE", "WHAT", "CHUNKS>", "BYTES>"]);
        for file in &self.files {
            let path = file.path.clone().unwrap_or_else(|| format!("(inode {}, without a name)", file.inode));
            rows.add_row([path, file.outcome.to_owned(), file.chunks.to_string(), bytes(file.bytes)]);
        }
        say!("{rows}");
        let more = self.files_in_all.saturating_sub(self.files.len() as u64);
        if more > 0 {
            say!("and {more} more files (--files N shows more)");
        }
    }
}
