//! One method per change of the namespace.

use cairn_proto::attr::{Attr, Credentials, SetAttr};
use cairn_proto::chunk::ChunkLocation;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId};
use cairn_proto::meta::{ChangedDir, ChunkExtent, Lease, Mutation, MutationReply, NewNode, RenameMode, XattrMode};
use cairn_proto::name::Name;
use cairn_proto::policy::Policy;
use cairn_proto::time::Timestamp;

use super::client::MetaClient;
use super::error::MetaError;

/// What to create.
#[derive(Clone, Debug)]
pub struct NewEntry {
    pub parent: InodeId,
    pub name: Name,
    pub node: NewNode,
    /// Permission bits before the umask.
    pub mode: u32,
    pub umask: u32,
    pub owner: Credentials,
    /// Fail where the name exists.
    pub exclusive: bool,
    /// Hold it open from here on.
    pub open: bool,
}

/// An entry that was created, or found in its place.
#[derive(Clone, Debug)]
pub struct Entry {
    pub attr: Attr,
    pub parent: ChangedDir,
    pub created: bool,
    pub policy: Policy,
    /// The first chunk of a new file that was opened, where it was made ahead.
    pub chunks: Vec<ChunkLocation>,
    /// On a new inode.
    pub lease: Lease,
}

/// Everyone whom a rename touched.
#[derive(Clone, Debug)]
pub struct Renamed {
    pub moved: Attr,
    pub replaced: Option<Attr>,
    pub exchanged: Option<Attr>,
    pub old_parent: ChangedDir,
    pub new_parent: ChangedDir,
}

impl MetaClient {
    pub async fn create(&self, new: NewEntry) -> Result<Entry, MetaError> {
        let NewEntry { parent, name, node, mode, umask, owner, exclusive, open } = new;
        let mutation = Mutation::Create { parent, name, node, mode, umask, owner, exclusive, open };
        let entry = self.entry("create", mutation).await?;
        if open {
            self.opens.attempted(entry.attr.inode);
            self.opens.opened(entry.attr.inode);
        }
        Ok(entry)
    }

    pub async fn link(&self, inode: InodeId, parent: InodeId, name: Name) -> Result<Entry, MetaError> {
        self.entry("link", Mutation::Link { inode, parent, name }).await
    }

    /// The removed inode and its parent.
    pub async fn unlink(&self, parent: InodeId, name: Name) -> Result<(Attr, ChangedDir), MetaError> {
        self.removed("unlink", Mutation::Unlink { parent, name }).await
    }

    /// The removed directory and its parent.
    pub async fn rmdir(&self, parent: InodeId, name: Name) -> Result<(Attr, ChangedDir), MetaError> {
        self.removed("rmdir", Mutation::Rmdir { parent, name }).await
    }

    pub async fn rename(
        &self,
        (parent, name): (InodeId, Name),
        (new_parent, new_name): (InodeId, Name),
        mode: RenameMode,
    ) -> Result<Renamed, MetaError> {
        match self.mutate("rename", Mutation::Rename { parent, name, new_parent, new_name, mode }).await? {
            MutationReply::Renamed { moved, replaced, exchanged, old_parent, new_parent } => {
                Ok(Renamed { moved, replaced, exchanged, old_parent, new_parent })
            }
            _ => Err(self.unexpected("rename")),
        }
    }

    pub async fn set_attr(&self, inode: InodeId, set: SetAttr) -> Result<Attr, MetaError> {
        self.attr("setattr", Mutation::SetAttr { inode, set }).await
    }

    pub async fn set_xattr(
        &self,
        inode: InodeId,
        name: Name,
        value: Vec<u8>,
        mode: XattrMode,
        clear_sgid: bool,
    ) -> Result<Attr, MetaError> {
        self.attr("setxattr", Mutation::SetXattr { inode, name, value, mode, clear_sgid }).await
    }

    pub async fn remove_xattr(&self, inode: InodeId, name: Name) -> Result<Attr, MetaError> {
        self.attr("removexattr", Mutation::RemoveXattr { inode, name }).await
    }

    pub async fn allocate_chunks(
        &self,
        inode: InodeId,
        first: ChunkIndex,
        count: u32,
    ) -> Result<Vec<ChunkLocation>, MetaError> {
        self.chunks("allocate", Mutation::AllocateChunks { inode, first, count }).await
    }

    pub async fn commit_write(
        &self,
        inode: InodeId,
        size: u64,
        mtime: Timestamp,
        extents: Vec<ChunkExtent>,
        kill_suid_sgid: bool,
    ) -> Result<Attr, MetaError> {
        self.attr("commit", Mutation::CommitWrite { inode, size, mtime, extents, kill_suid_sgid }).await
    }

    /// The chunk's location after its failed members were dropped.
    pub async fn replace_failed(
        &self,
        inode: InodeId,
        index: ChunkIndex,
        handle: ChunkHandle,
        version: ChunkVersion,
        failed: Vec<ServerId>,
        held: u32,
    ) -> Result<ChunkLocation, MetaError> {
        let mutation = Mutation::ReplaceFailed { inode, index, handle, version, failed, held };
        let mut chunks = self.chunks("replace_failed", mutation).await?;
        chunks.pop().ok_or_else(|| self.unexpected("replace_failed"))
    }

    pub async fn clear_trim(
        &self,
        inode: InodeId,
        index: ChunkIndex,
        handle: ChunkHandle,
        trimmed_at: u32,
    ) -> Result<(), MetaError> {
        self.mutate("clear_trim", Mutation::ClearTrim { inode, index, handle, trimmed_at }).await.map(drop)
    }

    /// Access times, sent lazily: nobody waits for the result, and an inode that is gone is no error.
    pub async fn touch_atimes(&self, atimes: &[(InodeId, Timestamp)]) -> Result<(), MetaError> {
        let touch = |&(inode, atime): &(InodeId, Timestamp)| Mutation::TouchAtime { inode, atime };
        self.mutate_batch("touch_atimes", &atimes.iter().map(touch).collect::<Vec<_>>()).await
    }

    async fn entry(&self, asked: &'static str, mutation: Mutation) -> Result<Entry, MetaError> {
        match self.mutate(asked, mutation).await? {
            MutationReply::Entry { attr, parent, created, policy, chunks, lease } => {
                Ok(Entry { attr, parent, created, policy, chunks, lease })
            }
            _ => Err(self.unexpected(asked)),
        }
    }

    async fn removed(&self, asked: &'static str, mutation: Mutation) -> Result<(Attr, ChangedDir), MetaError> {
        match self.mutate(asked, mutation).await? {
            MutationReply::Removed { attr, parent } => Ok((attr, parent)),
            _ => Err(self.unexpected(asked)),
        }
    }

    async fn attr(&self, asked: &'static str, mutation: Mutation) -> Result<Attr, MetaError> {
        match self.mutate(asked, mutation).await? {
            MutationReply::Attr(attr) => Ok(attr),
            _ => Err(self.unexpected(asked)),
        }
    }

    async fn chunks(&self, asked: &'static str, mutation: Mutation) -> Result<Vec<ChunkLocation>, MetaError> {
        match self.mutate(asked, mutation).await? {
            MutationReply::Chunks(chunks) => Ok(chunks),
            _ => Err(self.unexpected(asked)),
        }
    }
}
