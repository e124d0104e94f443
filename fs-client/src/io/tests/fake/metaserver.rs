//! The metaserver.

use std::collections::BTreeMap;

use async_trait::async_trait;
use cairn_proto::attr::{Attr, S_ISGID, S_ISUID};
use cairn_proto::chunk::{CHUNK_SIZE, ChunkId, ChunkLocation, Replica};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, LogIndex, ServerId, SessionId};
use cairn_proto::meta::{BadReplica, ChunkExtent, MAX_CHUNKS_PER_CALL, ServerPlace};
use cairn_proto::time::Timestamp;

use super::server::{FakeChunk, FakeServer};
use super::{Fake, World, new_attr};
use crate::io::{MetaError, MetaIo};

pub struct FakeFile {
    pub attr: Attr,
    pub chunks: BTreeMap<ChunkIndex, MetaChunk>,
}

pub struct MetaChunk {
    pub handle: ChunkHandle,
    pub version: u32,
    pub length: u32,
    pub trimmed_at: Option<u32>,
    pub members: Vec<ServerId>,
    allocated: u32,
}

impl FakeFile {
    pub fn new(inode: InodeId, log: u64) -> Self {
        Self { attr: new_attr(inode, log), chunks: BTreeMap::new() }
    }

    fn changed(&mut self, log: u64) -> Attr {
        self.attr.allocated = self.chunks.values().map(|chunk| u64::from(chunk.allocated)).sum();
        self.attr.changed_at = LogIndex(log);
        self.attr.clone()
    }
}

impl World {
    pub fn server(&mut self, id: ServerId) -> &mut FakeServer {
        self.servers.iter_mut().find(|server| server.id == id).expect("servers do not vanish")
    }

    fn tick(&mut self) -> u64 {
        self.log += 1;
        self.log
    }

    fn location(&self, inode: InodeId, index: ChunkIndex) -> Option<ChunkLocation> {
        let chunk = self.files.get(&inode)?.chunks.get(&index)?;
        let replicas = chunk.members.iter().map(|id| {
            let server = self.servers.iter().find(|server| server.id == *id).expect("servers do not vanish");
            Replica { server: *id, endpoint: server.endpoint.clone(), up: server.up }
        });
        Some(ChunkLocation {
            id: ChunkId { handle: chunk.handle, version: ChunkVersion(chunk.version), inode, index },
            length: chunk.length,
            trimmed_at: chunk.trimmed_at,
            replicas: replicas.collect(),
        })
    }

    pub fn locations(&self, inode: InodeId, first: ChunkIndex, count: u32) -> Vec<ChunkLocation> {
        let Some(file) = self.files.get(&inode) else { return Vec::new() };
        let asked = first..ChunkIndex(first.0.saturating_add(count));
        let found = file.chunks.range(asked).take(MAX_CHUNKS_PER_CALL as usize);
        found.filter_map(|(index, _)| self.location(inode, *index)).collect()
    }

    fn chunk_of(&mut self, inode: InodeId, handle: ChunkHandle) -> Option<&mut MetaChunk> {
        self.files.get_mut(&inode)?.chunks.values_mut().find(|chunk| chunk.handle == handle)
    }

    /// Raises the version with `members`, of which those that are new get a copy.
    fn reform(&mut self, inode: InodeId, handle: ChunkHandle, members: Vec<ServerId>) {
        let chunk = self.chunk_of(inode, handle).expect("the caller has seen it");
        chunk.version += 1;
        let version = chunk.version;
        let source = chunk.members.iter().find(|id| members.contains(id)).copied();
        chunk.members.clone_from(&members);
        let copy = source.and_then(|id| self.server(id).chunks.get(&handle).cloned());
        for id in members {
            let server = self.server(id);
            match (server.chunks.get_mut(&handle), &copy) {
                (Some(chunk), _) if chunk.version + 1 >= version => chunk.version = version,
                (_, Some(copy)) => {
                    let copy = FakeChunk::copied_from(copy, version);
                    server.give(handle, copy);
                }
                (Some(chunk), None) => chunk.version = version,
                (None, None) => {}
            }
        }
    }

    /// Answers whether all members of a chunk are there, and none has a copy.
    fn is_lost(&mut self, members: &[ServerId], handle: ChunkHandle) -> bool {
        members.iter().all(|id| self.server(*id).up && self.server(*id).lost.contains(&handle))
    }

    /// Members get empty copies of a chunk.
    fn make_anew(&mut self, inode: InodeId, handle: ChunkHandle) {
        let chunk = self.chunk_of(inode, handle).expect("the caller has seen it");
        chunk.version += 1;
        chunk.length = 0;
        let (version, members) = (chunk.version, chunk.members.clone());
        for id in members {
            self.server(id).give(handle, FakeChunk::empty(version));
        }
    }

    /// The version of a chunk goes up with the same members: they are fenced.
    pub fn fence(&mut self, inode: InodeId, handle: ChunkHandle) {
        if let Some(members) = self.chunk_of(inode, handle).map(|chunk| chunk.members.clone()) {
            // Not where a member is away: it would be left behind.
            if members.iter().all(|id| self.server(*id).up) {
                self.reform(inode, handle, members);
            }
        }
    }

    /// Every chunk gets its copies back, as far as servers are up.
    pub fn repair(&mut self, copies: usize) {
        let all: Vec<(InodeId, ChunkHandle, Vec<ServerId>)> = self
            .files
            .iter()
            .flat_map(|(inode, file)| file.chunks.values().map(|c| (*inode, c.handle, c.members.clone())))
            .collect();
        for (inode, handle, members) in all {
            if members.len() >= copies || !members.iter().all(|id| self.server(*id).up) {
                continue;
            }
            let spare = self.servers.iter().filter(|server| server.up && !server.full && !members.contains(&server.id));
            let spare: Vec<ServerId> = spare.map(|server| server.id).take(copies - members.len()).collect();
            if spare.is_empty() {
                continue;
            }
            for id in &spare {
                self.server(*id).chunks.remove(&handle);
            }
            let members = members.into_iter().chain(spare).collect();
            self.reform(inode, handle, members);
        }
    }

    pub fn diverging(&self) -> Vec<ChunkHandle> {
        let of = |id: &ServerId, handle: &ChunkHandle| {
            let server = self.servers.iter().find(|server| server.id == *id).expect("servers do not vanish");
            server.chunks.get(handle).map(|chunk| chunk.now.clone()).unwrap_or_default()
        };
        let chunks = self.files.values().flat_map(|file| file.chunks.values());
        let differs = |chunk: &&MetaChunk| {
            let limit = chunk.trimmed_at.unwrap_or(CHUNK_SIZE as u32);
            let first = of(&chunk.members[0], &chunk.handle);
            !chunk.members.iter().all(|id| of(id, &chunk.handle).same(&first, limit))
        };
        chunks.filter(differs).map(|chunk| chunk.handle).collect()
    }

    pub fn dirty(&self) -> Vec<ChunkHandle> {
        let is_dirty = |id: &ServerId, handle: &ChunkHandle| {
            self.servers.iter().any(|s| s.id == *id && s.chunks.get(handle).is_some_and(|chunk| chunk.dirty))
        };
        let chunks = self.files.values().flat_map(|file| file.chunks.values());
        chunks.filter(|c| c.members.iter().any(|id| is_dirty(id, &c.handle))).map(|c| c.handle).collect()
    }
}

impl Fake {
    pub fn repair(&self) {
        self.world.lock().repair(self.copies);
    }

    /// The metaserver's part of a truncate.
    pub fn set_size(&self, inode: InodeId, size: u64) -> Attr {
        let mut world = self.world.lock();
        let log = world.tick();
        let file = world.files.get_mut(&inode).unwrap();
        if size < file.attr.size {
            file.chunks.retain(|index, _| index.start() < size);
            if let Some((index, chunk)) = file
                .chunks
                .last_key_value()
                .map(|(i, _)| *i)
                .and_then(|i| file.chunks.get_mut(&i).map(|chunk| (i, chunk)))
            {
                let cut = (size - index.start()).min(CHUNK_SIZE) as u32;
                if cut < chunk.length {
                    chunk.trimmed_at = Some(chunk.trimmed_at.unwrap_or(u32::MAX).min(cut));
                    chunk.length = cut;
                }
            }
        }
        file.attr.size = size;
        file.attr.mtime = Timestamp::now();
        file.changed(log)
    }

    /// The file changes by another mount's doing: `data` at `offset`, on all members, committed.
    pub fn write_elsewhere(&self, inode: InodeId, offset: u64, data: &[u8]) -> Attr {
        let mut world = self.world.lock();
        let log = world.tick();
        let index = ChunkIndex::of_offset(offset).unwrap();
        let location = world.location(inode, index).expect("the test has made the chunk");
        let at = (offset - index.start()) as u32;
        for replica in &location.replicas {
            world.server(replica.server).write(location.id, at, Some(data), data.len() as u32).unwrap();
        }
        let file = world.files.get_mut(&inode).unwrap();
        file.attr.size = file.attr.size.max(offset + data.len() as u64);
        file.attr.mtime = Timestamp::now();
        file.changed(log)
    }

    async fn pause(&self) {
        let pause = self.faults.lock().pause();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

#[async_trait]
impl MetaIo for Fake {
    fn writer(&self) -> SessionId {
        SessionId(1)
    }

    async fn locate(&self, inode: InodeId, first: ChunkIndex, count: u32) -> Result<Vec<ChunkLocation>, MetaError> {
        self.pause().await;
        Ok(self.world.lock().locations(inode, first, count))
    }

    async fn allocate(&self, inode: InodeId, first: ChunkIndex, count: u32) -> Result<Vec<ChunkLocation>, MetaError> {
        self.pause().await;
        let mut world = self.world.lock();
        world.counts.allocations += 1;
        for index in (first.0..first.0 + count).map(ChunkIndex) {
            if world.location(inode, index).is_some() {
                continue;
            }
            let mut up: Vec<ServerId> = world.servers.iter().filter(|s| s.up && !s.full).map(|s| s.id).collect();
            if up.is_empty() {
                let full = world.servers.iter().any(|s| s.up);
                return Err(MetaError::Refused(if full { FsError::NoSpace } else { FsError::NoServers }));
            }
            world.next_handle += 1;
            let handle = ChunkHandle(world.next_handle);
            let turn = handle.0 as usize % up.len();
            up.rotate_left(turn);
            up.truncate(self.copies);
            let chunk = MetaChunk { handle, version: 1, length: 0, trimmed_at: None, members: up, allocated: 0 };
            world.files.get_mut(&inode).unwrap().chunks.insert(index, chunk);
        }
        Ok(world.locations(inode, first, count))
    }

    async fn commit_write(
        &self,
        inode: InodeId,
        size: u64,
        mtime: Timestamp,
        extents: Vec<ChunkExtent>,
        kill_suid_sgid: bool,
    ) -> Result<Attr, MetaError> {
        self.pause().await;
        if self.faults.lock().chance() {
            return Err(MetaError::Refused(FsError::NotReady));
        }
        let mut world = self.world.lock();
        assert!(extents.len() <= MAX_CHUNKS_PER_CALL as usize);
        world.counts.commits += 1;
        for extent in &extents {
            let Some(location) = world.location(inode, extent.index) else {
                world.violations.push(format!("commit of {extent:?}: there is no such chunk"));
                continue;
            };
            if location.id.handle != extent.handle {
                world.violations.push(format!("commit of {extent:?} where {:?} is", location.id));
            }
            for replica in location.replicas {
                let server = world.server(replica.server);
                let has = server.chunks.get(&extent.handle).map_or(0, |chunk| chunk.now.length);
                // A power cut may have taken it again.
                if has < extent.length && server.boot.0 == 1 {
                    let id = server.id;
                    world.violations.push(format!("commit of {extent:?}: {id} has {has} bytes only"));
                }
            }
        }
        let log = world.tick();
        let file = world.files.get_mut(&inode).unwrap();
        for extent in extents {
            if let Some(chunk) = file.chunks.get_mut(&extent.index) {
                chunk.length = chunk.length.max(extent.length);
                chunk.allocated = extent.allocated;
            }
        }
        file.attr.size = file.attr.size.max(size);
        file.attr.mtime = mtime;
        if kill_suid_sgid {
            file.attr.mode &= !(S_ISUID | S_ISGID);
        }
        Ok(file.changed(log))
    }

    async fn replace_failed(
        &self,
        inode: InodeId,
        index: ChunkIndex,
        handle: ChunkHandle,
        version: ChunkVersion,
        failed: Vec<ServerId>,
        held: u32,
    ) -> Result<ChunkLocation, MetaError> {
        self.pause().await;
        let mut world = self.world.lock();
        world.counts.replacements += 1;
        let Some(chunk) = world.chunk_of(inode, handle) else { return Err(FsError::NotFound.into()) };
        if chunk.version == version.0 {
            let (members, has_all) = (chunk.members.clone(), held >= chunk.length);
            if world.is_lost(&members, handle) {
                if !has_all {
                    return Err(FsError::ChunkLost(handle).into());
                }
                world.make_anew(inode, handle);
                return Ok(world.location(inode, index).unwrap());
            }
            let left: Vec<ServerId> =
                members.into_iter().filter(|id| !failed.contains(id) && world.server(*id).up).collect();
            if !left.is_empty() {
                world.reform(inode, handle, left);
            }
        }
        Ok(world.location(inode, index).unwrap())
    }

    async fn clear_trim(
        &self,
        inode: InodeId,
        _index: ChunkIndex,
        handle: ChunkHandle,
        trimmed_at: u32,
    ) -> Result<(), MetaError> {
        self.pause().await;
        let mut world = self.world.lock();
        world.counts.clear_trims += 1;
        let chunk = world.chunk_of(inode, handle).ok_or(FsError::NotFound)?;
        if chunk.trimmed_at.is_some_and(|cut| cut >= trimmed_at) {
            chunk.trimmed_at = None;
        }
        let members = chunk.members.clone();
        for id in members {
            let length = CHUNK_SIZE as u32;
            let contents = world.server(id).chunks.get(&handle).map(|chunk| chunk.now.clone()).unwrap_or_default();
            let mut cut = contents.clone();
            cut.blocks.retain(|block, _| block * 4096 < trimmed_at);
            if let Some(bytes) = cut.blocks.get_mut(&(trimmed_at / 4096)) {
                bytes[trimmed_at as usize % 4096..].fill(0);
            }
            if !contents.same(&cut, length) {
                world.violations.push(format!("{handle} is not zero from {trimmed_at} on at {id}"));
            }
        }
        Ok(())
    }

    async fn places(&self, servers: Vec<ServerId>) -> Result<Vec<ServerPlace>, MetaError> {
        let mut world = self.world.lock();
        let place = |server| ServerPlace { server, labels: world.server(server).labels.clone() };
        Ok(servers.into_iter().map(place).collect())
    }

    async fn report_bad_replica(&self, _handle: ChunkHandle, server: ServerId, what: BadReplica) {
        self.world.lock().counts.bad_replicas.push((server, what));
    }
}
