//! The state as openraft sees it: entries in, answers out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cairn_proto::ids::LogIndex;
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, LogId, RaftTypeConfig, Snapshot, SnapshotMeta};
use parking_lot::Mutex;

use super::applied::Applied;
use super::checkpoint::{CheckpointError, CheckpointReader, Checkpoints};
use super::lock::DirLock;
use super::log::EntryId;
use super::machine::Machine;
use super::snapshot::{self, SnapshotBuilder};
use super::types::{Entry, NodeId, Outcomes, StorageError, StorageIOError, StoredMembership, TypeConfig};
use crate::store::{Keyspace, StoreError, Txn};

/// Keys that are gathered from consecutive entries before they are committed to the store as one batch.
const BATCH_KEYS: usize = 4096;

/// Commands that are applied on the thread that serves the network: some ten microseconds each, and the way to another thread and
/// back costs a hundred.
const APPLIED_IN_PLACE: usize = 16;

/// Applies entries to a keyspace.
pub(super) struct Applier {
    pub(super) keyspace: Arc<Keyspace>,
    machine: Arc<dyn Machine>,
    applied: Mutex<Applied>,
    /// `applied.commands`, to be read without waiting.
    commands: AtomicU64,
    /// The last field: released only when the store is closed.
    _lock: Arc<DirLock>,
}

impl Applier {
    /// Goes on from where `keyspace` says that it is.
    pub(super) fn new(
        keyspace: Arc<Keyspace>,
        machine: Arc<dyn Machine>,
        lock: Arc<DirLock>,
    ) -> Result<Self, StoreError> {
        let applied = read_applied(&keyspace)?;
        let commands = AtomicU64::new(applied.commands);
        Ok(Self { keyspace, machine, applied: Mutex::new(applied), commands, _lock: lock })
    }

    /// How far the log is applied.
    pub(super) fn applied(&self) -> Applied {
        self.applied.lock().clone()
    }

    /// The last command that was applied.
    pub(super) fn last_command(&self) -> LogIndex {
        LogIndex(self.commands.load(Ordering::Acquire))
    }

    /// Applies consecutive entries, in as few batches as their size allows. Blocks on the store.
    pub(super) fn apply(&self, entries: Vec<Entry>) -> Result<Vec<Outcomes>, StoreError> {
        let mut applied = self.applied();
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let view = self.keyspace.view();
            let mut txn = Txn::new(&view);
            while txn.len() < BATCH_KEYS
                && let Some(entry) = entries.next()
            {
                outcomes.push(self.apply_entry(&mut txn, &mut applied, entry)?);
            }
            let writes = txn.into_writes();
            drop(view);
            self.keyspace.commit(writes, applied.encode())?;
            self.commands.store(applied.commands, Ordering::Release);
            *self.applied.lock() = applied.clone();
        }
        Ok(outcomes)
    }

    fn apply_entry(&self, txn: &mut Txn<'_>, applied: &mut Applied, entry: Entry) -> Result<Outcomes, StoreError> {
        applied.entry = EntryId::from_raft(&entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Ok(Outcomes::default()),
            EntryPayload::Membership(membership) => {
                applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                Ok(Outcomes::default())
            }
            EntryPayload::Normal(commands) => {
                let answer = |command: &Bytes| {
                    applied.commands += 1;
                    self.machine.apply(txn, LogIndex(applied.commands), command).map(Bytes::from)
                };
                commands.0.iter().map(answer).collect::<Result<_, _>>().map(Outcomes)
            }
        }
    }

    /// Replaces the state by that of a checkpoint.
    fn load(&self, reader: &mut CheckpointReader) -> Result<(), CheckpointError> {
        load(&self.keyspace, reader)?;
        let applied = read_applied(&self.keyspace)?;
        self.commands.store(applied.commands, Ordering::Release);
        *self.applied.lock() = applied;
        Ok(())
    }
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").field("applied", &self.applied).finish_non_exhaustive()
    }
}

fn commands_in(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(commands) => commands.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

/// The applied record of a keyspace.
pub(super) fn read_applied(keyspace: &Keyspace) -> Result<Applied, StoreError> {
    let bytes = keyspace.applied();
    Applied::decode(&bytes).ok_or_else(|| StoreError::bad_value(b"applied", "record of what is applied"))
}

/// Replaces what `keyspace` holds by a checkpoint. After an error it holds anything.
pub(super) fn load(keyspace: &Keyspace, reader: &mut CheckpointReader) -> Result<(), CheckpointError> {
    let meta = reader.header().meta.clone();
    keyspace.load(meta, std::iter::from_fn(|| reader.next_block().transpose()))
}

/// The face that openraft sees. Clones are the same state.
#[derive(Debug, Clone)]
pub(super) struct StateMachine {
    applier: Arc<Applier>,
    checkpoints: Arc<Checkpoints>,
}

impl StateMachine {
    pub(super) fn new(applier: Arc<Applier>, checkpoints: Arc<Checkpoints>) -> Self {
        Self { applier, checkpoints }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId<NodeId>>, StoredMembership), StorageError> {
        let applied = self.applier.applied();
        Ok((applied.entry.to_raft(), applied.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcomes>, StorageError>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let Some(last) = entries.last().map(|entry| entry.log_id) else { return Ok(Vec::new()) };
        let applier = Arc::clone(&self.applier);
        let applied = if entries.iter().map(commands_in).sum::<usize>() <= APPLIED_IN_PLACE {
            applier.apply(entries)
        } else {
            let applied = tokio::task::spawn_blocking(move || applier.apply(entries)).await;
            applied.map_err(|e| StorageIOError::apply(last, AnyError::new(&e)))?
        };
        applied.map_err(|e| StorageIOError::apply(last, AnyError::new(&e)).into())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(Arc::clone(&self.applier.keyspace), Arc::clone(&self.checkpoints))
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<tokio::fs::File>, StorageError> {
        let path = self.checkpoints.incoming();
        let mut options = tokio::fs::OpenOptions::new();
        let file = options.create(true).truncate(true).read(true).write(true).open(&path).await;
        file.map(Box::new).map_err(|e| StorageIOError::write_snapshot(None, AnyError::new(&e)).into())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<NodeId, openraft::BasicNode>,
        snapshot: Box<tokio::fs::File>,
    ) -> Result<(), StorageError> {
        drop(snapshot.into_std().await);
        let this = self.clone();
        let install = move || {
            let incoming = this.checkpoints.incoming();
            let header = CheckpointReader::open(&incoming)?.header().clone();
            let applied = Applied::decode(&header.meta.applied).unwrap_or_default();
            this.checkpoints.adopt(applied.commands, &incoming)?;
            let path = this.checkpoints.path_of(applied.commands);
            this.applier.load(&mut CheckpointReader::open(&path)?)
        };
        let failed = |e: AnyError| StorageIOError::write_snapshot(Some(meta.signature()), e);
        let installed = tokio::task::spawn_blocking(install).await.map_err(|e| failed(AnyError::new(&e)))?;
        installed.map_err(|e| failed(AnyError::new(&e)).into())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        snapshot::newest(&self.checkpoints).await
    }
}
