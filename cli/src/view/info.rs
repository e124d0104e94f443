//! `cairn info` and `cairn policy`.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use cairn_proto::admin::{ChunkInfo, InodeInfo};
use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::labels::Domain;
use cairn_proto::policy::{Durability, Placement, Policy, Retention};
use serde::Serialize;

use super::{bytes, seconds, table};
use crate::out::say;

#[derive(Debug, Serialize)]
pub struct InfoView {
    pub path: Option<String>,
    pub inode: u64,
    pub kind: &'static str,
    /// Octal.
    pub mode: String,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub allocated: u64,
    /// Seconds since the epoch.
    pub atime: f64,
    pub mtime: f64,
    pub ctime: f64,
    pub btime: f64,
    pub policy: PolicyView,
    pub xattrs: Vec<String>,
    pub chunks: Vec<ChunkView>,
}

#[derive(Debug, Serialize, Clone)]
pub struct PolicyView {
    pub copies: u8,
    pub durability: &'static str,
    /// The kind of domain that each copy is in another one of.
    pub spread: Option<&'static str>,
    /// Labels that servers of copies have.
    pub on: BTreeMap<String, String>,
    pub loose: bool,
    /// Seconds for which a directory keeps what is removed from it; 0: not at all. `null` of what is no directory.
    pub trash_s: Option<u32>,
}

#[derive(Debug, Serialize)]
pub struct ChunkView {
    pub index: u32,
    pub handle: u64,
    pub version: u32,
    pub length: u32,
    pub trimmed_at: Option<u32>,
    pub target: u8,
    pub replicas: Vec<ReplicaView>,
}

#[derive(Debug, Serialize)]
pub struct ReplicaView {
    pub server: String,
    pub name: String,
    pub endpoint: String,
    pub up: bool,
}

impl InfoView {
    /// `chunks` of `info` are its first ones; the rest is added with [`InfoView::add_chunks`].
    pub fn new(info: InodeInfo) -> Self {
        let InodeInfo { attr, path, policy, placement, retention, xattrs, chunks } = info;
        let Attr {
            inode,
            kind,
            mode,
            nlink,
            uid,
            gid,
            rdev: _,
            size,
            allocated,
            atime,
            mtime,
            ctime,
            btime,
            changed_at: _,
            has_xattrs: _,
        } = attr;
        let mut view = Self {
            path: path.map(|names| names.iter().map(|n| format!("/{n}")).collect::<String>()).map(root_if_empty),
            inode: inode.0,
            kind: kind_word(kind),
            mode: format!("{mode:04o}"),
            nlink,
            uid,
            gid,
            size,
            allocated,
            atime: seconds(atime),
            mtime: seconds(mtime),
            ctime: seconds(ctime),
            btime: seconds(btime),
            policy: PolicyView::new(policy, &placement, retention),
            xattrs: xattrs.iter().map(ToString::to_string).collect(),
            chunks: Vec::new(),
        };
        view.add_chunks(chunks);
        view
    }

    pub fn add_chunks(&mut self, chunks: Vec<ChunkInfo>) {
        self.chunks.extend(chunks.into_iter().map(|ChunkInfo { location, names, target }| {
            ChunkView {
                index: location.id.index.0,
                handle: location.id.handle.0,
                version: location.id.version.0,
                length: location.length,
                trimmed_at: location.trimmed_at,
                target,
                replicas: (location.replicas.into_iter().zip(names))
                    .map(|(r, name)| ReplicaView {
                        server: r.server.to_string(),
                        name,
                        endpoint: r.endpoint.to_string(),
                        up: r.up,
                    })
                    .collect(),
            }
        }));
    }

    pub fn print(&self) {
        say!("{}", self.path.as_deref().unwrap_or("(no path: removed, and still open)"));
        say!("  inode     {} ({})", self.inode, self.kind);
        say!("  mode      {}, owner {}:{}, {} link(s)", self.mode, self.uid, self.gid, self.nlink);
        say!("  size      {} ({} allocated)", bytes(self.size), bytes(self.allocated));
        say!("  policy    {}", self.policy);
        if !self.xattrs.is_empty() {
            say!("  xattrs    {}", self.xattrs.join(", "));
        }
        if self.chunks.is_empty() {
            return;
        }
        say!("");
        let mut rows = table::new(&["CHUNK>", "HANDLE>", "VERSION>", "LENGTH>", "COPIES>", "ON"]);
        for c in &self.chunks {
            let up = c.replicas.iter().filter(|r| r.up).count();
            let on = c.replicas.iter().map(|r| if r.up { r.name.clone() } else { format!("{} (down)", r.name) });
            rows.add_row([
                c.index.to_string(),
                c.handle.to_string(),
                c.version.to_string(),
                bytes(u64::from(c.length)),
                format!("{up}/{}", c.target),
                on.collect::<Vec<_>>().join(", "),
            ]);
        }
        say!("{rows}");
    }
}

impl PolicyView {
    pub fn new(policy: Policy, placement: &Placement, retention: Option<Retention>) -> Self {
        let Policy { copies, durability, placement: _ } = policy;
        let Placement { spread, on, loose } = placement;
        let durability = match durability {
            Durability::Fsync => "fsync",
            Durability::Close => "close",
            Durability::Write => "write",
        };
        let trash_s = retention.map(|Retention(seconds)| seconds);
        Self { copies, durability, spread: spread.map(Domain::key), on: on.clone().into(), loose: *loose, trash_s }
    }
}

impl Display for PolicyView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} copies, durable at {}", self.copies, self.durability)?;
        if let Some(domain) = self.spread {
            write!(f, ", each in another {domain}")?;
        }
        for (key, value) in &self.on {
            write!(f, ", on {key}={value}")?;
        }
        if self.loose {
            f.write_str(" (as far as the servers allow)")?;
        }
        match self.trash_s {
            Some(seconds @ 1..) => {
                let time = humantime::format_duration(Duration::from_secs(seconds.into()));
                write!(f, ", what is removed is kept for {time}")
            }
            _ => Ok(()),
        }
    }
}

fn root_if_empty(path: String) -> String {
    if path.is_empty() { "/".into() } else { path }
}

pub(super) fn kind_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
        FileKind::CharDevice => "character device",
        FileKind::BlockDevice => "block device",
    }
}
