//! One method per question, and opening and closing.

use cairn_proto::attr::Attr;
use cairn_proto::chunk::ChunkLocation;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, InodeId, ServerId};
use cairn_proto::meta::{
    BadReplica, DirPage, Found, FsStat, Granted, Lease, MAX_LEASES_PER_CALL, OpenMode, Opened, ReadDir, ServerPlace,
};
use cairn_proto::name::Name;
use cairn_proto::trash::{TrashCursor, TrashEntry, TrashPage};

use super::client::MetaClient;
use super::error::MetaError;

impl MetaClient {
    pub async fn lookup(&self, parent: InodeId, name: &Name) -> Result<Found, MetaError> {
        self.with_session("lookup", async |rpc, context, session| {
            rpc.lookup(context, session, parent, name.clone()).await
        })
        .await
    }

    pub async fn get_attr(&self, inode: InodeId) -> Result<Granted<Attr>, MetaError> {
        self.with_session("getattr", async |rpc, context, session| rpc.get_attr(context, session, inode).await).await
    }

    /// An exclusive lease on a file, and its attributes as they are then.
    pub async fn acquire(&self, inode: InodeId) -> Result<Attr, MetaError> {
        self.with_session("acquire", async |rpc, context, session| rpc.acquire(context, session, inode).await).await
    }

    /// Events have been acted upon.
    pub async fn acted(&self, events: Vec<u64>) -> Result<(), MetaError> {
        self.with_session("acted", async |rpc, context, session| rpc.acted(context, session, events.clone()).await)
            .await
    }

    /// After a restart of the metaserver, which made it this `incarnation`: the leases on open files that this mount has kept.
    pub async fn reclaim_leases(&self, incarnation: u64, kept: &[(InodeId, Lease)]) -> Result<(), MetaError> {
        let mut batches = kept.chunks(MAX_LEASES_PER_CALL).peekable();
        loop {
            let batch = batches.next().unwrap_or_default();
            let last = batches.peek().is_none();
            self.with_session("reclaim_leases", async |rpc, context, session| {
                rpc.reclaim_leases(context, session, incarnation, batch.to_vec(), last).await
            })
            .await?;
            if last {
                return Ok(());
            }
        }
    }

    /// After that: this mount has no others any more.
    pub async fn dropped_the_rest(&self, incarnation: u64) -> Result<(), MetaError> {
        self.with_session("dropped_the_rest", async |rpc, context, session| {
            rpc.dropped_the_rest(context, session, incarnation).await
        })
        .await
    }

    /// Leases that this mount does not need. It is asked to drop them.
    pub async fn return_leases(&self, inodes: &[InodeId]) -> Result<(), MetaError> {
        self.with_session("return_leases", async |rpc, context, session| {
            rpc.return_leases(context, session, inodes.to_vec()).await
        })
        .await
    }

    pub async fn read_link(&self, inode: InodeId) -> Result<Vec<u8>, MetaError> {
        self.with_session("readlink", async |rpc, context, session| rpc.read_link(context, session, inode).await).await
    }

    pub async fn read_dir(&self, request: ReadDir) -> Result<DirPage, MetaError> {
        self.with_session("readdir", async |rpc, context, session| rpc.read_dir(context, session, request).await).await
    }

    pub async fn get_xattr(&self, inode: InodeId, name: &Name) -> Result<Vec<u8>, MetaError> {
        self.with_session("getxattr", async |rpc, context, session| {
            rpc.get_xattr(context, session, inode, name.clone()).await
        })
        .await
    }

    pub async fn list_xattr(&self, inode: InodeId) -> Result<Vec<Name>, MetaError> {
        self.with_session("listxattr", async |rpc, context, session| rpc.list_xattr(context, session, inode).await)
            .await
    }

    /// What was removed and is kept, behind `after`.
    pub async fn trash(&self, after: Option<TrashCursor>) -> Result<TrashPage, MetaError> {
        self.with_session("trash", async |rpc, context, session| rpc.trash(context, session, after).await).await
    }

    /// One inode in the trash; `NotFound` where it is not there.
    pub async fn trashed(&self, inode: InodeId) -> Result<TrashEntry, MetaError> {
        self.with_session("trashed", async |rpc, context, session| rpc.trashed(context, session, inode).await).await
    }

    /// Removes it for good. Done twice, it is as if done once.
    pub async fn drop_trash(&self, inode: InodeId) -> Result<(), MetaError> {
        self.with_session("drop_trash", async |rpc, context, session| rpc.drop_trash(context, session, inode).await)
            .await
    }

    pub async fn stat_fs(&self) -> Result<FsStat, MetaError> {
        self.query("statfs", async |rpc, context| rpc.stat_fs(context).await).await
    }

    /// Answered only in the session in which programs write: whoever knows where a chunk is may write to it.
    pub async fn locate(&self, inode: InodeId, first: ChunkIndex, count: u32) -> Result<Vec<ChunkLocation>, MetaError> {
        let (session, chunks) = self
            .with_session("locate", async |rpc, context, session| {
                let located = rpc.locate(context, session, inode, first, count).await?;
                Ok(located.map(|chunks| (session, chunks)))
            })
            .await?;
        if self.term().is_written_in(session) { Ok(chunks) } else { Err(MetaError::SessionLost) }
    }

    /// The first chunk of each of these files, where that can be said at once.
    pub async fn locate_first(&self, inodes: &[InodeId]) -> Result<Vec<Option<ChunkLocation>>, MetaError> {
        self.with_session("locate_first", async |rpc, context, session| {
            rpc.locate_first(context, session, inodes.to_vec()).await
        })
        .await
    }

    /// Where chunkservers stand; those that are not known are left out.
    pub async fn places(&self, servers: &[ServerId]) -> Result<Vec<ServerPlace>, MetaError> {
        self.query("places", async |rpc, context| rpc.places(context, servers.to_vec()).await).await
    }

    /// Best effort: tells the metaserver once, if it can be reached.
    pub async fn report_bad_replica(&self, handle: ChunkHandle, server: ServerId, what: BadReplica) {
        let told = self
            .query("report_bad_replica", async |rpc, context| {
                rpc.report_bad_replica(context, handle, server, what).await
            })
            .await;
        if let Err(error) = told {
            tracing::debug!(%handle, %server, ?what, %error, "a bad replica was not reported");
        }
    }

    /// Holds `inode` open until [`MetaClient::close_inode`].
    pub async fn open(&self, inode: InodeId, mode: OpenMode) -> Result<Opened, MetaError> {
        let opened = self
            .with_session("open", async |rpc, context, session| {
                self.opens.attempted(inode);
                rpc.open(context, session, inode, mode).await
            })
            .await;
        match &opened {
            Ok(_) => self.opens.opened(inode),
            Err(_) => self.opens.closed(inode, false),
        }
        opened
    }

    /// One open less. The metaserver hears of it soon, not now.
    pub fn close_inode(&self, inode: InodeId) {
        self.opens.closed(inode, true);
    }
}
