//! Carrying out what metaservers want done, apart from the heartbeats: those must not wait for it.

use cairn_proto::cluster::Order;
use cairn_proto::ids::{ChunkHandle, ChunkVersion};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// Orders that wait at most. A metaserver repeats what is not done, so those that do not fit are not missed.
const MAX_WAITING: usize = 64;

/// Where orders are put.
#[derive(Clone, Debug)]
pub struct OrderQueue(mpsc::Sender<Order>);

impl OrderQueue {
    /// The queue, and what [`carry_out`] takes from it.
    pub fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), receiver)
    }

    pub fn put(&self, orders: Vec<Order>) {
        for order in orders {
            if self.0.try_send(order).is_err() {
                return tracing::debug!("more orders than can wait; the metaserver will repeat them");
            }
        }
    }
}

/// Carries orders out, one after the other, until `stop` is cancelled. What they changed is confirmed by later heartbeats.
pub async fn carry_out(store: Store, mut orders: mpsc::Receiver<Order>, stop: CancellationToken) {
    while let Some(Some(order)) = stop.run_until_cancelled(orders.recv()).await {
        match order {
            Order::Delete(chunks) => delete(&store, chunks, &stop).await,
        }
    }
}

async fn delete(store: &Store, chunks: Vec<(ChunkHandle, ChunkVersion)>, stop: &CancellationToken) {
    for (handle, version) in chunks {
        if stop.is_cancelled() {
            return;
        }
        if let Err(error) = store.delete(handle, version).await {
            tracing::warn!(chunk = handle.0, %error, "cannot delete what is garbage");
        }
    }
}
