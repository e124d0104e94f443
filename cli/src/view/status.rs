//! `cairn status` and `cairn df`.

use cairn_proto::admin::{ClusterStatus, ServerState};
use serde::Serialize;

use super::{bytes, millis, table};

#[derive(Debug, Serialize)]
pub struct StatusView {
    pub cluster: String,
    pub version: String,
    pub applied: u64,
    pub servers: Vec<ServerView>,
    pub sessions: Vec<SessionView>,
    pub fs: FsView,
    pub chunks: ChunksView,
    pub workers: Vec<WorkerView>,
}

#[derive(Debug, Serialize)]
pub struct ServerView {
    pub id: String,
    pub name: String,
    pub endpoint: String,
    pub state: &'static str,
    pub total: u64,
    pub free: u64,
    pub used: u64,
    pub chunks: u64,
    pub silent_ms: u64,
    pub damaged: u64,
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
    pub dirty: u64,
    pub garbage: u64,
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
        let ClusterStatus { cluster, version, applied, servers, sessions, fs, inodes, chunks, workers } = status;
        let mut servers: Vec<ServerView> = servers
            .into_iter()
            .map(|s| ServerView {
                id: s.server.to_string(),
                name: s.name,
                endpoint: s.endpoint.to_string(),
                state: state_word(s.state),
                total: s.space.total,
                free: s.space.free,
                used: s.space.used,
                chunks: s.chunks,
                silent_ms: s.silent_ms,
                damaged: s.damaged,
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
                dirty: chunks.dirty,
                garbage: chunks.garbage,
            },
            workers: workers.collect(),
        }
    }
}

impl StatusView {
    /// The whole status for people.
    pub fn print(&self) {
        println!("cluster   {} (metaserver {}, log at {})", self.cluster, self.version, self.applied);
        println!("files     {} inodes, {} of {} free", self.fs.inodes, bytes(self.fs.free), bytes(self.fs.total));
        let c = &self.chunks;
        println!(
            "chunks    {} in all: {} below target, {} unavailable, {} being written, {} to be deleted",
            c.total, c.below_target, c.unavailable, c.dirty, c.garbage
        );
        println!("clients   {}", self.sessions.len());
        for s in &self.sessions {
            let (open, idle) = (s.open_files, millis(s.idle_ms));
            println!("          {}:{} ({open} files open, last heard {idle} ago)", s.host, s.mountpoint);
        }
        for w in self.workers.iter().filter(|w| w.queue > 0 || w.last_error.is_some()) {
            let error = w.last_error.as_ref().map(|e| format!("; last error: {e}")).unwrap_or_default();
            println!("work      {}: {}, {} waiting, {} done{error}", w.name, w.state, w.queue, w.done);
        }
        println!();
        self.print_servers();
    }

    /// Space by server.
    pub fn print_servers(&self) {
        let heads = ["SERVER", "STATE", "SIZE>", "USED>", "FREE>", "COPIES>", "DAMAGED>", "HEARD", "ADDRESS"];
        let mut rows = table::new(&heads);
        for s in &self.servers {
            rows.add_row([
                s.name.clone(),
                s.state.to_owned(),
                bytes(s.total),
                bytes(s.used),
                bytes(s.free),
                s.chunks.to_string(),
                s.damaged.to_string(),
                format!("{} ago", millis(s.silent_ms)),
                s.endpoint.clone(),
            ]);
        }
        println!("{rows}");
    }
}

fn state_word(state: ServerState) -> &'static str {
    match state {
        ServerState::Joining => "joining",
        ServerState::Healthy => "healthy",
        ServerState::Suspect => "suspect",
        ServerState::Dead => "dead",
        ServerState::Stopped => "stopped",
    }
}
