//! The state machine as the rest of the metaserver uses it: propose a command, read what has been applied, give out ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, InodeId, LogIndex, SessionId};
use cairn_proto::meta::InodeRange;
use cairn_proto::time::Timestamp;
use cairn_runtime::clock::Clock;

use crate::command::{Command, Internal};
use crate::namespace::{NamespaceError, Reply, query};
use crate::store::{Keyspace, Read, StoreError};

/// A log that applies what it commits: the seam between the raft node and everything that proposes to it.
#[async_trait]
pub trait Log: Send + Sync + std::fmt::Debug + 'static {
    /// Answers once the command is committed and applied. Commands are ordered as this is first polled.
    async fn propose(&self, command: Command) -> Result<Result<Reply, FsError>, FsError>;

    /// The state that commands are applied to.
    fn keyspace(&self) -> &Arc<Keyspace>;

    /// The last command that was applied.
    fn applied(&self) -> LogIndex;

    /// Takes a checkpoint; answers the index that it covers.
    async fn checkpoint(&self) -> Result<LogIndex, FsError>;
}

/// See the module.
#[derive(Debug)]
pub struct State {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    ids: Ids,
}

/// What is given out next. In memory: an id whose command never came to be applied is skipped, and after a restart the
/// counters of the applied state are above all that was.
#[derive(Debug)]
struct Ids {
    inode: AtomicU64,
    handle: AtomicU64,
    session: AtomicU64,
}

impl State {
    /// `log` must have applied everything that it had committed.
    pub fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let counters = query::counters(&log.keyspace().view())?;
        let ids = Ids {
            inode: AtomicU64::new(counters.next_inode.0),
            handle: AtomicU64::new(counters.next_handle.0),
            session: AtomicU64::new(counters.next_session.0),
        };
        Ok(Self { log, clock, ids })
    }

    /// Proposes a command, and waits for its reply.
    pub async fn propose(&self, command: Command) -> Result<Reply, FsError> {
        self.log.propose(command).await?
    }

    /// Proposes something that no client asked for.
    pub async fn internal(&self, internal: Internal) -> Result<Reply, FsError> {
        self.propose(Command::internal(self.wall(), internal)).await
    }

    /// Reads between two commits. Commits wait meanwhile: look up, do not linger.
    pub fn read<T, E: Into<NamespaceError>>(
        &self,
        query: impl FnOnce(&dyn Read) -> Result<T, E>,
    ) -> Result<T, FsError> {
        let view = self.log.keyspace().view();
        query(&view).map_err(|error| refusal(error.into()))
    }

    /// The time that commands carry.
    pub fn wall(&self) -> Timestamp {
        self.clock.wall().into()
    }

    pub fn next_inode(&self) -> InodeId {
        InodeId(self.ids.inode.fetch_add(1, Ordering::Relaxed))
    }

    /// Numbers for inodes that somebody else will make. They are taken before anybody hears of them, durably.
    pub async fn reserve_inodes(&self, count: u32) -> Result<InodeRange, FsError> {
        let first = InodeId(self.ids.inode.fetch_add(u64::from(count), Ordering::Relaxed));
        self.internal(Internal::ReserveInodes { upto: InodeId(first.0 + u64::from(count)) }).await?;
        Ok(InodeRange { first, count })
    }

    pub fn next_handle(&self) -> ChunkHandle {
        ChunkHandle(self.ids.handle.fetch_add(1, Ordering::Relaxed))
    }

    /// All chunks from here on are still to be given out.
    pub fn coming_handle(&self) -> ChunkHandle {
        ChunkHandle(self.ids.handle.load(Ordering::Relaxed))
    }

    /// All sessions from here on are still to come.
    pub fn coming_session(&self) -> SessionId {
        SessionId(self.ids.session.load(Ordering::Relaxed))
    }

    pub fn next_session(&self) -> SessionId {
        SessionId(self.ids.session.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether `handle` was given out by this cluster's metadata, as far as this metaserver knows.
    pub fn has_given_out(&self, handle: ChunkHandle) -> bool {
        handle < self.coming_handle()
    }

    pub fn log(&self) -> &dyn Log {
        &*self.log
    }

    #[cfg(test)]
    pub fn into_log(self) -> Arc<dyn Log> {
        self.log
    }
}

/// What a caller is told. A store that cannot be read is the operator's business, and stands in the log.
pub fn refusal(error: NamespaceError) -> FsError {
    match error {
        NamespaceError::Refused(refusal) => refusal,
        NamespaceError::Store(StoreError::NoSpace { .. }) => FsError::NoSpace,
        NamespaceError::Store(error) => {
            tracing::error!(%error, "the store cannot be read");
            FsError::Storage
        }
    }
}
