//! Checkpoints as openraft sees them.
//!
//! openraft treats a snapshot that cannot be built as the end of the node. So checkpoints are taken before it is told
//! ([`take`], by [`super::MetaNode::checkpoint`]), where a full disk is an error like others; what openraft then "builds" is
//! the checkpoint that is there.

use std::sync::Arc;

use openraft::{AnyError, RaftSnapshotBuilder, Snapshot, SnapshotMeta};

use super::applied::Applied;
use super::checkpoint::{CheckpointError, CheckpointHeader, Checkpoints};
use super::error::TakeError;
use super::space::has_reserve;
use super::types::{StorageError, StorageIOError, TypeConfig};
use crate::store::{Keyspace, StoreError};

/// Hands out the newest checkpoint, and takes one only where there is none.
#[derive(Debug)]
pub(super) struct SnapshotBuilder {
    keyspace: Arc<Keyspace>,
    checkpoints: Arc<Checkpoints>,
}

impl SnapshotBuilder {
    pub(super) fn new(keyspace: Arc<Keyspace>, checkpoints: Arc<Checkpoints>) -> Self {
        Self { keyspace, checkpoints }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        if let Some(snapshot) = newest(&self.checkpoints).await? {
            return Ok(snapshot);
        }
        let (keyspace, checkpoints) = (Arc::clone(&self.keyspace), Arc::clone(&self.checkpoints));
        let taken = tokio::task::spawn_blocking(move || take(&keyspace, &checkpoints, 0)).await;
        let taken = taken.map_err(|e| StorageIOError::write_snapshot(None, AnyError::new(&e)))?;
        taken.map_err(|e| StorageIOError::write_snapshot(None, AnyError::new(&e)))?;
        let missing =
            || StorageIOError::read_snapshot(None, AnyError::error("the checkpoint is gone that was just taken"));
        newest(&self.checkpoints).await?.ok_or_else(|| missing().into())
    }
}

/// Writes the state as it is now to a new checkpoint, while commits go on. Blocks until it is durable and verified.
///
/// Where nothing was applied since the newest one, that one is returned.
///
/// Not begun where it may leave less than `reserve_bytes` of the disk.
pub(super) fn take(
    keyspace: &Arc<Keyspace>,
    checkpoints: &Checkpoints,
    reserve_bytes: u64,
) -> Result<CheckpointHeader, TakeError> {
    let expected = checkpoints.expected_bytes();
    if !has_reserve(checkpoints.dir(), reserve_bytes + expected) {
        // Filling the disk up would hurt more than a longer log does.
        let path = checkpoints.dir().to_owned();
        return Err(CheckpointError::NoSpace { action: "setting aside space for a", path }.into());
    }
    let image = keyspace.image()?;
    let applied = decode_applied(&image.meta().applied)?;
    match checkpoints.newest() {
        Some(newest) if newest.entry == applied.entry => Ok(newest),
        _ => Ok(checkpoints.take(applied.commands, applied.entry, image)?),
    }
}

/// The newest checkpoint as a snapshot.
pub(super) async fn newest(checkpoints: &Checkpoints) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
    let Some((header, path)) = checkpoints.newest_first().into_iter().next() else { return Ok(None) };
    let failed = |e: AnyError| StorageError::from(StorageIOError::read_snapshot(None, e));
    let applied = decode_applied(&header.meta.applied).map_err(|e| failed(AnyError::new(&e)))?;
    let file = tokio::fs::File::open(&path).await.map_err(|e| failed(AnyError::new(&e)))?;
    let meta = SnapshotMeta {
        last_log_id: applied.entry.to_raft(),
        last_membership: applied.membership,
        snapshot_id: format!("{:020}", applied.commands),
    };
    Ok(Some(Snapshot { meta, snapshot: Box::new(file) }))
}

fn decode_applied(bytes: &[u8]) -> Result<Applied, StoreError> {
    Applied::decode(bytes).ok_or_else(|| StoreError::bad_value(b"applied", "record of what is applied"))
}
