//! `cairn status` and `cairn df`.

use std::collections::BTreeMap;

use cairn_proto::admin::{ClusterStatus, ServerMode, ServerState};
use cairn_proto::time::Timestamp;
use serde::Serialize;

use super::disk::{self, DiskView};
use super::repair::RepairView;
use super::scrub::ScrubView;
use super::{bytes, count, millis, table};
use crate::out::say;

#[derive(Debug, Serialize)]
pub struct StatusView {
    pub cluster: String,
    pub version: String,
    pub applied: u64,
    pub servers: Vec<ServerView>,
    pub sessions: Vec<SessionView>,
    pub fs: FsView,
    pub chunks: ChunksView,
    pub repair: RepairView,
    pub trash: TrashView,
    pub workers: Vec<WorkerView>,
}

#[derive(Debug, Serialize)]
pub struct ServerView {
    pub id: String,
    pub name: String,
    pub endpoint: String,
    pub labels: BTreeMap<String, String>,
    pub state: &'static str,
    /// Of a server in maintenance: for how long, at most.
    pub maintenance_ms: Option<u64>,
    pub total: u64,
    pub free: u64,
    pub used: u64,
    pub chunks: u64,
    pub silent_ms: u64,
    pub damaged: u64,
    /// Copies that are to go elsewhere.
    pub to_move: u64,
    pub scrub: ScrubView,
    pub disks: Vec<DiskView>,
}

#[derive(Debug, Serialize)]
pub struct SessionView {
    pub id: u64,
    pub host: String,
    pub mountpoint: String,
    pub open_files: u64,
    pub idle_ms: u64,
}

#[derive(Debug, Serialize)]
pub struct FsView {
    pub total: u64,
    pub free: u64,
    pub inodes: u64,
}

#[derive(Debug, Serialize)]
pub struct ChunksView {
    pub total: u64,
    pub below_target: u64,
    pub unavailable: u64,
    pub misplaced: u64,
    pub dirty: u64,
    pub garbage: u64,
    /// With a damaged copy that could not be made good.
    pub damaged: u64,
    /// How long ago the pass began that counted what is below target, unavailable, misplaced and dirty.
    pub counted_ms: Option<u64>,
}

/// What was removed and is kept.
#[derive(Debug, Serialize)]
pub struct TrashView {
    pub entries: u64,
    /// Of one copy.
    pub bytes: u64,
}

#[derive(Debug, Serialize)]
pub struct WorkerView {
    pub name: String,
    pub state: String,
    pub done: u64,
    pub queue: u64,
    pub last_error: Option<String>,
}

impl From<ClusterStatus> for StatusView {
    fn from(status: ClusterStatus) -> Self {
        let ClusterStatus { cluster, version, applied, servers, sessions, fs, inodes, chunks, repair, trash, workers } =
            status;
        let mut servers: Vec<ServerView> = servers
            .into_iter()
            .map(|s| ServerView {
                id: s.server.to_string(),
                name: s.name,
                endpoint: s.endpoint.to_string(),
                labels: s.labels.into(),
                state: state_word(s.state),
                maintenance_ms: maintenance_left(s.mode),
                total: s.space.total,
                free: s.space.free,
                used: s.space.used,
                chunks: s.chunks,
                silent_ms: s.silent_ms,
                damaged: s.damaged,
                to_move: s.to_move,
                scrub: s.scrub.into(),
                disks: disk::views(s.disks),
            })
            .collect();
        servers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        let sessions = sessions.into_iter().map(|s| SessionView {
            id: s.session,
            host: s.host,
            mountpoint: s.mountpoint,
            open_files: s.open_files,
            idle_ms: s.idle_ms,
        });
        let workers = workers.into_iter().map(|w| WorkerView {
            name: w.name,
            state: w.state,
            done: w.done,
            queue: w.queue,
            last_error: w.last_error,
        });
        Self {
            cluster: cluster.to_string(),
            version,
            applied: applied.0,
            servers,
            sessions: sessions.collect(),
            fs: FsView { total: fs.total, free: fs.free, inodes },
            chunks: ChunksView {
                total: chunks.total,
                below_target: chunks.below_target,
                unavailable: chunks.unavailable,
                misplaced: chunks.misplaced,
                dirty: chunks.dirty,
                garbage: chunks.garbage,
                damaged: chunks.damaged,
                counted_ms: chunks.counted_ms,
            },
            repair: repair.into(),
            trash: TrashView { entries: trash.entries, bytes: trash.bytes },
            workers: workers.collect(),
        }
    }
}

impl StatusView {
    /// The whole status for people.
    pub fn print(&self) {
        say!("cluster   {} (metaserver {}, log at {})", self.cluster, self.version, self.applied);
        say!("files     {} inodes, {} of {} free", self.fs.inodes, bytes(self.fs.free), bytes(self.fs.total));
        let c = &self.chunks;
        say!(
            "chunks    {} in all: {} below target, {} unavailable, {} to be moved, {} being written, {} to be deleted ({})",
            c.total,
            c.below_target,
            c.unavailable,
            c.misplaced,
            c.dirty,
            c.garbage,
            c.counted_ms.map_or("not counted yet".to_owned(), |ago| format!("as of {} ago", millis(ago))),
        );
        if c.damaged > 0 {
            say!("damage    {} chunks have damaged copies and no good one: `cairn fsck` names them", c.damaged);
        }
        say!("repair    {}", self.repair);
        if let Some(trash) = self.trash_in_words() {
            say!("trash     {trash}: `cairn trash list`");
        }
        say!("scrub     {}", self.scrub_in_words());
        say!("clients   {}", self.sessions.len());
        for s in &self.sessions {
            let (open, idle) = (s.open_files, millis(s.idle_ms));
            say!("          {}:{} ({open} files open, last heard {idle} ago)", s.host, s.mountpoint);
        }
        for w in self.workers.iter().filter(|w| w.queue > 0 || w.last_error.is_some()) {
            let error = w.last_error.as_ref().map(|e| format!("; last error: {e}")).unwrap_or_default();
            say!("work      {}: {}, {} waiting, {} done{error}", w.name, w.state, w.queue, w.done);
        }
        for (server, disk) in self.disks().filter(|(_, disk)| disk.has_failed()) {
            say!("disk      {server}:{} {}", disk.number, disk.failure_in_words());
        }
        say!("");
        self.print_servers();
        self.print_disks();
    }

    /// All disks, with the names of their servers.
    fn disks(&self) -> impl Iterator<Item = (&str, &DiskView)> {
        self.servers.iter().flat_map(|server| server.disks.iter().map(|disk| (server.name.as_str(), disk)))
    }

    /// Disks, unless each server has one, and that says nothing that the server does not.
    fn print_disks(&self) {
        if self.servers.iter().all(|server| server.disks.len() < 2) && !self.disks().any(|(_, disk)| disk.has_failed())
        {
            return;
        }
        let mut rows = table::new(&disk::HEADS);
        for (server, disk) in self.disks() {
            rows.add_row(disk.row(server));
        }
        say!("\n{rows}");
    }

    /// What is in the trash, if anything is.
    pub fn trash_in_words(&self) -> Option<String> {
        let TrashView { entries, bytes: held } = self.trash;
        (entries > 0).then(|| format!("{} with {}", count(entries, "entry", "entries"), bytes(held)))
    }

    /// The scrubs of all servers in a line.
    fn scrub_in_words(&self) -> String {
        let passes = || self.servers.iter().filter_map(|s| s.scrub.pass.as_ref());
        let damaged: u64 = self.servers.iter().map(|s| s.scrub.damaged).sum();
        let verified: u64 = passes().map(|pass| pass.verified).sum();
        let left: u64 = passes().map(|pass| pass.left).sum();
        let rate: u64 = passes().map(|pass| pass.rate).sum();
        let under_way = match passes().count() {
            0 => "no pass under way".to_owned(),
            n => format!(
                "{n} passes under way, {} of {} read, {}/s",
                bytes(verified),
                bytes(verified + left),
                bytes(rate)
            ),
        };
        format!("{under_way}; {damaged} damaged blocks found so far (`cairn scrub status`)")
    }

    /// How far the servers' scrubs are.
    pub fn print_scrubs(&self) {
        let heads = ["SERVER", "PASS", "READ>", "LEFT>", "RATE>", "ENDS", "DAMAGED>", "LAST FULL PASS", "FOUND>"];
        let mut rows = table::new(&heads);
        for s in &self.servers {
            rows.add_row(s.scrub.row(&s.name));
        }
        say!("{rows}");
    }

    /// Servers, where they stand, and what is to become of them.
    pub fn print_places(&self) {
        let mut rows = table::new(&["SERVER", "STATE", "COPIES>", "TO MOVE>", "LABELS", "ADDRESS", "ID"]);
        for s in &self.servers {
            let labels = s.labels.iter().map(|(key, value)| format!("{key}={value}"));
            rows.add_row([
                s.name.clone(),
                s.state_in_words(),
                s.chunks.to_string(),
                s.to_move.to_string(),
                labels.collect::<Vec<_>>().join(" "),
                s.endpoint.clone(),
                s.id.clone(),
            ]);
        }
        say!("{rows}");
        self.print_disks();
    }

    /// Space by server.
    pub fn print_servers(&self) {
        let heads = ["SERVER", "STATE", "SIZE>", "USED>", "FREE>", "COPIES>", "DAMAGED>", "HEARD", "ADDRESS"];
        let mut rows = table::new(&heads);
        for s in &self.servers {
            rows.add_row([
                s.name.clone(),
                s.state_in_words(),
                bytes(s.total),
                bytes(s.used),
                bytes(s.free),
                s.chunks.to_string(),
                s.damaged.to_string(),
                format!("{} ago", millis(s.silent_ms)),
                s.endpoint.clone(),
            ]);
        }
        say!("{rows}");
    }
}

impl ServerView {
    fn state_in_words(&self) -> String {
        match (self.state, self.maintenance_ms) {
            ("maintenance", Some(left)) => format!("maintenance ({} left)", millis(left)),
            ("draining", _) => format!("draining ({} to move)", self.to_move),
            (state, _) => state.to_owned(),
        }
    }
}

fn maintenance_left(mode: ServerMode) -> Option<u64> {
    match mode {
        ServerMode::Maintenance { until, .. } => Some(until.saturating_since(Timestamp::now()).as_millis() as u64),
        ServerMode::InService | ServerMode::Draining => None,
    }
}

fn state_word(state: ServerState) -> &'static str {
    match state {
        ServerState::Joining => "joining",
        ServerState::Healthy => "healthy",
        ServerState::Suspect => "suspect",
        ServerState::Dead => "dead",
        ServerState::Maintenance => "maintenance",
        ServerState::Draining => "draining",
    }
}
