//! A cluster in memory: chunkservers that keep what they have synced when their kernel restarts, a metaserver that replaces
//! failed members, and a wire that does what [`Faults`] say. It checks its client: see [`Fake::violations`].

mod faults;
mod metaserver;
mod server;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, InodeId, LogIndex, ServerId};
use cairn_proto::meta::{BadReplica, Lease, Opened};
use cairn_proto::policy::{Durability, Policy};
use cairn_proto::time::Timestamp;
use parking_lot::Mutex;

pub use faults::{Faults, Script};
use metaserver::FakeFile;
use server::FakeServer;

/// The cluster.
pub struct Fake {
    world: Mutex<World>,
    pub faults: Mutex<Faults>,
    copies: usize,
}

/// What happened, for tests to count.
#[derive(Default, Debug)]
pub struct Counts {
    pub writes: usize,
    pub reads: usize,
    pub read_bytes: usize,
    pub syncs: usize,
    pub hand_backs: usize,
    /// Writes that synced their chunk.
    pub synced_writes: usize,
    pub commits: usize,
    pub allocations: usize,
    pub replacements: usize,
    pub clear_trims: usize,
    pub bad_replicas: Vec<(ServerId, BadReplica)>,
}

pub struct World {
    servers: Vec<FakeServer>,
    files: HashMap<InodeId, FakeFile>,
    next_handle: u64,
    log: u64,
    /// `(handle, version, first block, last block)` of the writes that a client waits for.
    writing: Vec<(ChunkHandle, u32, u32, u32)>,
    pub counts: Counts,
    violations: Vec<String>,
    observed: Option<Attr>,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fake").field("counts", &self.world.lock().counts).finish_non_exhaustive()
    }
}

impl Fake {
    pub fn new(servers: usize, copies: usize) -> Arc<Self> {
        let world = World {
            servers: (0..servers).map(FakeServer::new).collect(),
            files: HashMap::new(),
            next_handle: 100,
            log: 1,
            writing: Vec::new(),
            counts: Counts::default(),
            violations: Vec::new(),
            observed: None,
        };
        Arc::new(Self { world: Mutex::new(world), faults: Mutex::default(), copies })
    }

    pub fn open(&self, inode: InodeId) -> Opened {
        let mut world = self.world.lock();
        let log = world.log;
        let file = world.files.entry(inode).or_insert_with(|| FakeFile::new(inode, log));
        let attr = file.attr.clone();
        let chunks = world.locations(inode, ChunkIndex(0), 64);
        let policy = Policy { copies: self.copies as u8, durability: Durability::Fsync, placement: Default::default() };
        Opened { attr, policy, chunks, lease: Lease::Exclusive, contended: false }
    }

    pub fn attr(&self, inode: InodeId) -> Attr {
        self.world.lock().files[&inode].attr.clone()
    }

    pub fn observe(&self, attr: Attr) {
        self.world.lock().observed = Some(attr);
    }

    pub fn observed(&self) -> Option<Attr> {
        self.world.lock().observed.clone()
    }

    pub fn counts<T>(&self, look: impl FnOnce(&Counts) -> T) -> T {
        look(&self.world.lock().counts)
    }

    /// What the client has done that it must not.
    pub fn violations(&self) -> Vec<String> {
        self.world.lock().violations.clone()
    }

    pub fn server_ids(&self) -> Vec<ServerId> {
        self.world.lock().servers.iter().map(|server| server.id).collect()
    }

    /// The process is gone, or back: what it had acknowledged is still there.
    pub fn set_up(&self, server: usize, up: bool) {
        self.world.lock().servers[server].up = up;
    }

    /// It takes requests and does nothing, or goes on.
    pub fn set_stopped(&self, server: usize, stopped: bool) {
        self.world.lock().servers[server].stopped.send_replace(stopped);
    }

    pub fn set_labels(&self, server: usize, labels: &str) {
        self.world.lock().servers[server].labels = labels.parse().unwrap();
    }

    /// Reads that each server was asked for.
    pub fn reads(&self) -> Vec<usize> {
        self.world.lock().servers.iter().map(|server| server.reads).collect()
    }

    pub fn set_full(&self, server: usize, full: bool) {
        self.world.lock().servers[server].full = full;
    }

    /// The machine restarts: what was not synced is gone.
    pub fn power_cut(&self, server: usize) {
        self.world.lock().servers[server].power_cut();
    }

    /// Bytes of the block at `offset` of a file change on the disk of one holder, behind its sums. Answers who it was.
    pub fn damage(&self, inode: InodeId, offset: u64, holder: usize) -> ServerId {
        let mut world = self.world.lock();
        let index = ChunkIndex::of_offset(offset).unwrap();
        let chunk = &world.files[&inode].chunks[&index];
        let (handle, server) = (chunk.handle, chunk.members[holder]);
        let block = ((offset % CHUNK_SIZE) / 4096) as u32;
        world.server(server).chunk(handle).damaged.insert(block);
        server
    }

    /// A holder loses its copy of the chunk at `offset`.
    pub fn lose_copy(&self, inode: InodeId, offset: u64, holder: usize) -> ServerId {
        let mut world = self.world.lock();
        let index = ChunkIndex::of_offset(offset).unwrap();
        let chunk = &world.files[&inode].chunks[&index];
        let (handle, server) = (chunk.handle, chunk.members[holder]);
        world.server(server).lose(handle);
        server
    }

    /// A holder's copy of the first chunk ends after `length` bytes.
    pub fn cut_off(&self, inode: InodeId, length: u32, holder: usize) -> ServerId {
        let mut world = self.world.lock();
        let chunk = &world.files[&inode].chunks[&ChunkIndex(0)];
        let (handle, server) = (chunk.handle, chunk.members[holder]);
        let contents = &mut world.server(server).chunk(handle).now;
        contents.length = length;
        contents.blocks.split_off(&length.div_ceil(4096));
        server
    }

    /// The members of the chunk at `offset`, as positions.
    pub fn holders(&self, inode: InodeId, offset: u64) -> Vec<usize> {
        let world = self.world.lock();
        let chunk = &world.files[&inode].chunks[&ChunkIndex::of_offset(offset).unwrap()];
        let position = |id: &ServerId| world.servers.iter().position(|server| server.id == *id).unwrap();
        chunk.members.iter().map(position).collect()
    }

    /// Chunks whose copies (of the current members) are not the same, byte for byte, up to where they are valid.
    pub fn diverging(&self) -> Vec<ChunkHandle> {
        self.world.lock().diverging()
    }

    /// Chunks that some member holds as dirty.
    pub fn dirty(&self) -> Vec<ChunkHandle> {
        self.world.lock().dirty()
    }
}

fn new_attr(inode: InodeId, log: u64) -> Attr {
    let epoch = Timestamp::default();
    Attr {
        inode,
        kind: FileKind::File,
        mode: 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        allocated: 0,
        atime: epoch,
        mtime: epoch,
        ctime: epoch,
        btime: epoch,
        has_xattrs: false,
        changed_at: LogIndex(log),
    }
}
