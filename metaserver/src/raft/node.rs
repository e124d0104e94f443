//! A metaserver's node: the log, the state, and raft between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_proto::ids::LogIndex;
use cairn_runtime::crashsafe;
use cairn_runtime::worker::{NameTaken, Pace, Workers};
use openraft::{BasicNode, Raft, ServerState, SnapshotPolicy};
use tokio::sync::{mpsc, oneshot, watch};

use super::batcher::{Batcher, MAX_COMMAND_BYTES, Proposal, QUEUE_LIMIT};
use super::checkpoint::Checkpoints;
use super::lock::DirLock;
use super::log::{Disk, Log, LogWriter, RealDisk, VoteFile};
use super::log_store::LogStore;
use super::network::NoPeers;
use super::recover::{Recovery, leave_marker, replay};
use super::space::Reserve;
use super::state_machine::{Applier, StateMachine};
use super::types::{NodeId, TypeConfig};
use super::upkeep::{CheckpointWorker, FlushWorker};
use super::{Machine, NodeConfig, OpenError, ProposeError, TakeError, snapshot};
use crate::store::{Keyspace, StoreError};

/// How long a node with one voter may take to lead.
const LEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// The node. Clones are the same node.
///
/// It ends when all clones are dropped; [`MetaNode::shutdown`] before that makes the next start a quick one.
#[derive(Clone)]
pub struct MetaNode {
    inner: Arc<Inner>,
}

struct Inner {
    config: NodeConfig,
    raft: Raft<TypeConfig>,
    queue: mpsc::Sender<Proposal>,
    applier: Arc<Applier>,
    log: LogStore,
    checkpoints: Arc<Checkpoints>,
    /// One checkpoint at a time.
    taking: tokio::sync::Mutex<()>,
    /// Why the node cannot go on, if it cannot.
    failure: watch::Sender<Option<String>>,
}

/// A look at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeMetrics {
    /// The last command that was applied.
    pub applied: LogIndex,
    /// The last command in the newest checkpoint.
    pub checkpoint: Option<LogIndex>,
    pub term: u64,
    pub leader: Option<NodeId>,
    /// Bytes of log on disk.
    pub log_bytes: u64,
    /// Times the log was synced since the start.
    pub log_syncs: u64,
    /// Pairs in the store.
    pub pairs: u64,
    /// Why the node has stopped, if it has.
    pub failure: Option<String>,
}

impl MetaNode {
    /// Opens the node in `config.dir`, which is created where it does not exist. Returns when it leads and everything that
    /// was committed before is applied.
    pub async fn open(config: NodeConfig, machine: Arc<dyn Machine>) -> Result<Self, OpenError> {
        Self::open_on(config, machine, Arc::new(RealDisk)).await
    }

    /// [`MetaNode::open`], with a disk for the log that may be one that fails.
    pub async fn open_on(
        config: NodeConfig,
        machine: Arc<dyn Machine>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, OpenError> {
        let settings = config.clone();
        let opened = tokio::task::spawn_blocking(move || Parts::open(&settings, machine, disk)).await;
        let parts = opened.map_err(|e| OpenError::Raft(e.to_string()))??;
        let state_machine = StateMachine::new(Arc::clone(&parts.applier), Arc::clone(&parts.checkpoints));
        let raft = Raft::new(config.node_id, raft_config()?, NoPeers, parts.log.clone(), state_machine).await;
        let raft = raft.map_err(|e| OpenError::Raft(e.to_string()))?;
        lead(&raft, config.node_id).await?;
        let (queue, proposals) = mpsc::channel(QUEUE_LIMIT);
        let reserve = Reserve::new(config.dir.clone(), config.reserve_bytes);
        let (taking, failure) = (tokio::sync::Mutex::new(()), watch::Sender::new(None));
        let (raft_handle, log) = (raft.clone(), parts.log.clone());
        let batcher = Batcher { raft: raft_handle, log, reserve, failure: failure.clone() };
        tokio::spawn(batcher.run(proposals));
        let Parts { applier, log, checkpoints } = parts;
        let inner = Inner { config, raft, queue, applier, log, checkpoints, taking, failure };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Starts what keeps the node in shape in the background. Without it the store is never flushed and the log only grows.
    pub fn spawn_workers(&self, workers: &Workers) -> Result<(), NameTaken> {
        workers.spawn(FlushWorker { node: self.clone() }, Pace::Unlimited)?;
        let log_bytes = self.inner.log.reader().bytes();
        workers.spawn(CheckpointWorker { node: self.clone(), log_bytes }, Pace::Unlimited)
    }

    /// Proposes a command, and returns the machine's answer when it is durable and applied. Commands are ordered as this is
    /// first polled. Once it was polled, the command may be applied even if the future is dropped.
    pub async fn propose(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        if command.len() > MAX_COMMAND_BYTES {
            return Err(ProposeError::TooLarge { bytes: command.len(), limit: MAX_COMMAND_BYTES });
        }
        if let Some(reason) = self.failure() {
            return Err(ProposeError::Stopped(reason));
        }
        let (answer, answered) = oneshot::channel();
        let gone = |_| ProposeError::Stopped("it was shut down".into());
        // Unconstrained: a task whose turn is over would otherwise be put behind others that came later.
        let queued = tokio::task::unconstrained(self.inner.queue.send(Proposal { command, answer })).await;
        queued.map_err(|_| gone(()))?;
        answered.await.unwrap_or_else(|_| Err(gone(())))
    }

    /// The state, for reading.
    pub fn keyspace(&self) -> &Arc<Keyspace> {
        &self.inner.applier.keyspace
    }

    /// The last command that was applied.
    pub fn applied(&self) -> LogIndex {
        self.inner.applier.last_command()
    }

    /// Takes a checkpoint and drops the log that is not needed any more. Returns the last command in it.
    pub async fn checkpoint(&self) -> Result<LogIndex, TakeError> {
        let _taking = self.inner.taking.lock().await;
        let (keyspace, checkpoints) = (Arc::clone(self.keyspace()), Arc::clone(&self.inner.checkpoints));
        let reserve = self.inner.config.reserve_bytes / 2;
        let taken = tokio::task::spawn_blocking(move || snapshot::take(&keyspace, &checkpoints, reserve)).await;
        let header = taken.map_err(|e| TakeError::Stopped(e.to_string()))??;
        let stopped = |fatal: openraft::error::Fatal<NodeId>| TakeError::Stopped(fatal.to_string());
        self.inner.raft.trigger().snapshot().await.map_err(stopped)?;
        let upto = header.entry.to_raft();
        let wait = self.inner.raft.wait(Some(LEADER_TIMEOUT));
        let known = wait.metrics(|metrics| metrics.snapshot >= upto, "checkpoint").await;
        known.map_err(|e| TakeError::Stopped(e.to_string()))?;
        Ok(command_of(&header))
    }

    /// Moves the store to disk. When that fails, the node has failed: what the store has on disk is unknown.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let keyspace = Arc::clone(self.keyspace());
        let flushed = tokio::task::spawn_blocking(move || keyspace.flush()).await;
        let lost = |e: tokio::task::JoinError| StoreError::Io { action: "flushing", source: std::io::Error::other(e) };
        let result = flushed.map_err(lost).and_then(|result| result);
        if let Err(error) = &result {
            self.inner.failure.send_replace(Some(error.to_string()));
        }
        result
    }

    /// Resolves with the reason when the node cannot go on: its disk has failed, or a command could not be applied.
    pub async fn failed(&self) -> String {
        let mut raft = self.inner.raft.metrics();
        let mut own = self.inner.failure.subscribe();
        loop {
            if let Some(reason) = self.failure() {
                return reason;
            }
            tokio::select! {
                changed = raft.changed() => if changed.is_err() {
                    return self.failure().unwrap_or_else(|| "raft has ended".to_owned());
                },
                _ = own.changed() => {}
            }
        }
    }

    pub fn metrics(&self) -> NodeMetrics {
        let raft = self.inner.raft.metrics().borrow().clone();
        NodeMetrics {
            applied: self.applied(),
            checkpoint: self.inner.checkpoints.newest().as_ref().map(command_of),
            term: raft.current_term,
            leader: raft.current_leader,
            log_bytes: self.inner.log.reader().bytes(),
            log_syncs: self.inner.log.syncs(),
            pairs: self.keyspace().digest().pairs,
            failure: self.failure(),
        }
    }

    /// Stops raft, then leaves the store on disk, so that the next start need not verify it. Proposals that are under way
    /// may end with [`ProposeError::Stopped`]. The directory stays locked until the node is dropped.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(%error, "raft did not end well");
        }
        if self.inner.failure.borrow().is_some() {
            return Ok(());
        }
        self.flush().await?;
        let (dir, meta) = (self.inner.config.dir.clone(), self.keyspace().meta().encode());
        let left = tokio::task::spawn_blocking(move || leave_marker(&dir, &meta)).await;
        let left = left.map_err(std::io::Error::other).and_then(|result| result);
        left.map_err(|e| StoreError::from_io("noting a clean end", e))
    }

    pub(super) fn config(&self) -> &NodeConfig {
        &self.inner.config
    }

    fn failure(&self) -> Option<String> {
        let own = self.inner.failure.borrow().clone();
        own.or_else(|| self.inner.raft.metrics().borrow().running_state.as_ref().err().map(ToString::to_string))
    }
}

impl std::fmt::Debug for MetaNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetaNode").field("dir", &self.inner.config.dir).finish_non_exhaustive()
    }
}

/// What a node is made of before raft runs.
struct Parts {
    applier: Arc<Applier>,
    log: LogStore,
    checkpoints: Arc<Checkpoints>,
}

impl Parts {
    fn open(config: &NodeConfig, machine: Arc<dyn Machine>, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let (log_dir, checkpoint_dir) = (config.dir.join("log"), config.dir.join("checkpoints"));
        for dir in [&log_dir, &checkpoint_dir] {
            let created = crashsafe::create_dir_all(dir);
            created.map_err(|source| OpenError::Io { action: "create", path: dir.clone(), source })?;
        }
        let lock = Arc::new(DirLock::acquire(&config.dir)?);
        let checkpoints = Arc::new(Checkpoints::open(&checkpoint_dir)?);
        let vote = VoteFile::new(log_dir.join("vote"));
        let is_new = vote.load()?.is_none() && checkpoints.newest().is_none();
        if !is_new && !Log::exists(&log_dir)? {
            return Err(OpenError::LogMissing { dir: log_dir });
        }
        let log = Log::open(&log_dir, config.segment_bytes, disk)?;
        let (reader, committed) = (log.reader(), log.committed());
        let recovery = Recovery { config, log: &reader, checkpoints: &checkpoints };
        let applier = Arc::new(Applier::new(recovery.open_store()?, machine, Arc::clone(&lock))?);
        replay(&reader, committed, &applier)?;
        let writer = spawn_writer(log, vote.clone(), &log_dir)?;
        let log = LogStore::new(writer, reader, vote, Arc::clone(&checkpoints), lock);
        Ok(Self { applier, log, checkpoints })
    }
}

fn spawn_writer(log: Log, vote: VoteFile, dir: &Path) -> Result<LogWriter, OpenError> {
    let failed = |source| OpenError::Io { action: "start the log's thread for", path: dir.to_owned(), source };
    LogWriter::spawn(log, vote).map_err(failed)
}

fn raft_config() -> Result<Arc<openraft::Config>, OpenError> {
    let config = openraft::Config {
        cluster_name: "cairn".into(),
        // There is nobody to send heartbeats to, and a leader is found at once: see `lead`.
        heartbeat_interval: 500,
        election_timeout_min: 1500,
        election_timeout_max: 3000,
        // Checkpoints are taken by `MetaNode::checkpoint`, and decide by themselves how much log is kept.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        ..openraft::Config::default()
    };
    config.validate().map(Arc::new).map_err(|e| OpenError::Raft(e.to_string()))
}

/// Makes this node, the only voter, the leader, and waits until what the log holds is applied.
async fn lead(raft: &Raft<TypeConfig>, node_id: NodeId) -> Result<(), OpenError> {
    let failed = |e: &dyn std::fmt::Display| OpenError::Raft(e.to_string());
    if !raft.is_initialized().await.map_err(|e| failed(&e))? {
        let members = BTreeMap::from([(node_id, BasicNode::default())]);
        raft.initialize(members).await.map_err(|e| failed(&e))?;
    } else if raft.with_raft_state(|state| state.server_state).await.map_err(|e| failed(&e))? != ServerState::Leader {
        raft.trigger().elect().await.map_err(|e| failed(&e))?;
    }
    let wait = raft.wait(Some(LEADER_TIMEOUT));
    let ready = wait.metrics(
        |metrics| {
            metrics.state == ServerState::Leader && metrics.last_applied.map(|id| id.index) == metrics.last_log_index
        },
        "leading, and everything applied",
    );
    ready.await.map(drop).map_err(|e| failed(&e))
}

fn command_of(header: &super::checkpoint::CheckpointHeader) -> LogIndex {
    let applied = super::applied::Applied::decode(&header.meta.applied);
    LogIndex(applied.map_or(0, |applied| applied.commands))
}
