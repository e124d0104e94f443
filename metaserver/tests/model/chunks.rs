//! Chunks: allocation, commits, cuts, members.

use cairn_metaserver::command::Decided;
use cairn_metaserver::namespace::{ChunkView, Reply};
use cairn_proto::chunk::{CHUNK_SIZE, ChunkId};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId};
use cairn_proto::meta::ChunkExtent;
use cairn_proto::policy::PlacementId;
use cairn_proto::time::Timestamp;

use super::{Answer, Model, Piece};

impl Model {
    pub(super) fn allocate(&mut self, id: InodeId, first: ChunkIndex, count: u32, decided: &Decided) -> Answer {
        let target = self.file(id)?.policy.copies;
        if count == 0 || count > 64 {
            return Err(FsError::InvalidArgument);
        }
        if u64::from(first.0) + u64::from(count) > 1 << 30 {
            return Err(FsError::FileTooLarge);
        }
        let placements = if let Decided::Chunks(placements) = decided { &placements[..] } else { &[] };
        let mut chunks = self.nodes[&id].chunks.clone();
        for index in (first.0..first.0 + count).map(ChunkIndex) {
            if chunks.contains_key(&index) {
                continue;
            }
            let placement = placements.iter().find(|placement| placement.index == index).ok_or(FsError::NotReady)?;
            let piece = Piece {
                handle: placement.handle,
                version: ChunkVersion(1),
                members: placement.members.clone(),
                target,
                length: 0,
                allocated: 0,
                trimmed_at: None,
            };
            chunks.insert(index, piece);
        }
        self.node_mut(id).chunks = chunks;
        Ok(Reply::Chunks(self.views(id, first, count)))
    }

    pub fn views(&self, id: InodeId, first: ChunkIndex, count: u32) -> Vec<ChunkView> {
        let end = ChunkIndex(first.0.saturating_add(count));
        self.nodes[&id].chunks.range(first..end).map(|(&index, piece)| piece.view(id, index)).collect()
    }

    pub(super) fn commit_write(
        &mut self,
        at: Timestamp,
        id: InodeId,
        size: u64,
        mtime: Timestamp,
        extents: &[ChunkExtent],
        kill: bool,
    ) -> Answer {
        self.file(id)?;
        if size > 1 << 56 {
            return Err(FsError::FileTooLarge);
        }
        if extents.len() > 64 || mtime.nanos >= 1_000_000_000 {
            return Err(FsError::InvalidArgument);
        }
        let node = self.node_mut(id);
        for extent in extents {
            if let Some(piece) = node.chunks.get_mut(&extent.index).filter(|piece| piece.handle == extent.handle) {
                piece.length = piece.length.max(extent.length);
                piece.allocated = extent.allocated;
            }
        }
        node.size = node.size.max(size);
        node.mtime = mtime;
        node.ctime = at;
        node.kill_capabilities();
        if kill {
            node.kill_suid_sgid();
        }
        Ok(Reply::Attr(self.attr(id)))
    }

    pub(super) fn truncate(&mut self, id: InodeId, size: u64) {
        let node = self.node_mut(id);
        let shrinks = size < node.size;
        node.size = size;
        if !shrinks {
            return;
        }
        let mut gone = Vec::new();
        for (index, mut piece) in std::mem::take(&mut node.chunks) {
            let start = u64::from(index.0) * CHUNK_SIZE;
            if start >= size {
                gone.push(piece);
                continue;
            }
            if size - start < CHUNK_SIZE {
                let cut = (size - start) as u32;
                piece.trimmed_at = Some(piece.trimmed_at.unwrap_or(cut).min(cut));
                piece.length = piece.length.min(cut);
                piece.allocated = piece.allocated.min(cut.div_ceil(4096) * 4096);
            }
            node.chunks.insert(index, piece);
        }
        gone.into_iter().for_each(|piece| self.discard(piece));
    }

    pub(super) fn discard(&mut self, piece: Piece) {
        self.garbage.insert(piece.handle, (piece.version, piece.members));
    }

    pub(super) fn clear_trim(&mut self, id: InodeId, index: ChunkIndex, handle: ChunkHandle, from: u32) -> Answer {
        self.file(id)?;
        if let Some(piece) = self.node_mut(id).chunks.get_mut(&index).filter(|piece| piece.handle == handle) {
            piece.trimmed_at = piece.trimmed_at.filter(|&cut| cut < from);
        }
        Ok(Reply::Done)
    }

    pub(super) fn replace_failed(
        &mut self,
        (id, index, handle, version): (InodeId, ChunkIndex, ChunkHandle, ChunkVersion),
        failed: &[ServerId],
        held: u32,
        decided: &Decided,
    ) -> Answer {
        self.file(id)?;
        let (survivors, anew) = match decided {
            Decided::Survivors(survivors) => (&survivors[..], false),
            Decided::Anew(survivors) => (&survivors[..], true),
            _ => (&[][..], false),
        };
        let node = self.node_mut(id);
        let piece = node.chunks.get_mut(&index).filter(|piece| piece.handle == handle).ok_or(FsError::NotFound)?;
        let mut left = piece.members.clone();
        left.retain(|member| survivors.contains(member) && !failed.contains(member));
        if piece.version == version && !left.is_empty() && (!anew || held >= piece.length) {
            piece.version = ChunkVersion(version.0 + 1);
            piece.members = left;
            piece.length = if anew { 0 } else { piece.length };
        }
        Ok(Reply::Chunks(vec![piece.view(id, index)]))
    }

    pub(super) fn set_members(
        &mut self,
        handle: ChunkHandle,
        expect: ChunkVersion,
        next: ChunkVersion,
        members: &[ServerId],
    ) -> Answer {
        let all =
            self.nodes.iter_mut().flat_map(|(&id, node)| node.chunks.iter_mut().map(move |(i, piece)| (id, *i, piece)));
        let (id, index, piece) =
            all.into_iter().find(|(_, _, piece)| piece.handle == handle).ok_or(FsError::NotFound)?;
        if piece.version != expect {
            return Ok(Reply::MembersConflict(piece.view(id, index)));
        }
        piece.version = next;
        piece.members = members.to_vec();
        Ok(Reply::Members(piece.view(id, index)))
    }
}

impl Piece {
    fn view(&self, inode: InodeId, index: ChunkIndex) -> ChunkView {
        ChunkView {
            id: ChunkId { handle: self.handle, version: self.version, inode, index },
            length: self.length,
            trimmed_at: self.trimmed_at,
            members: self.members.clone(),
            target: self.target,
            placement: PlacementId::ANYWHERE,
        }
    }
}
