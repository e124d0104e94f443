//! A node under kills, lost and damaged files, and full disks.

mod damage;
mod disk;
mod formats;
mod killed;
mod running;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cairn_proto::ids::LogIndex;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::log::{Disk, RealDisk};
use super::*;
use crate::store::{Pair, StoreError, TAG_TAIL, Txn};

/// A command of the test machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Op {
    Put(u32, Bytes),
    Delete(u32),
    /// Adds a byte to a value: applied twice, or not at all, it shows.
    Append(u32, u8),
}

/// A map from numbers to bytes. Answers the command's own number.
struct Map;

fn key(n: u32) -> Vec<u8> {
    [&[9u8][..], &n.to_be_bytes()].concat()
}

impl Machine for Map {
    fn apply(&self, txn: &mut Txn<'_>, index: LogIndex, command: &[u8]) -> Result<Vec<u8>, StoreError> {
        match postcard::from_bytes(command).unwrap() {
            Op::Put(n, value) => txn.put(key(n), value),
            Op::Delete(n) => txn.delete(key(n)),
            Op::Append(n, byte) => {
                let mut value = txn.get(&key(n))?.unwrap_or_default().to_vec();
                value.push(byte);
                txn.put(key(n), value);
            }
        }
        Ok(index.0.to_be_bytes().to_vec())
    }
}

fn command(op: &Op) -> Bytes {
    postcard::to_stdvec(op).unwrap().into()
}

/// A node on a runtime of its own, so that it can be ended at any moment.
struct Running {
    runtime: Runtime,
    node: MetaNode,
}

fn config(dir: &Path) -> NodeConfig {
    NodeConfig { reserve_bytes: 0, segment_bytes: 64 * 1024, store_cache_bytes: 16 << 20, ..NodeConfig::new(dir) }
}

impl Running {
    fn try_start(config: NodeConfig, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let runtime = Runtime::new().unwrap();
        let node = runtime.block_on(MetaNode::open_on(config, Arc::new(Map), disk))?;
        Ok(Self { runtime, node })
    }

    fn start(dir: &Path) -> Self {
        Self::try_start(config(dir), Arc::new(RealDisk)).unwrap()
    }

    fn propose(&self, op: &Op) -> Result<LogIndex, ProposeError> {
        let answer = self.runtime.block_on(self.node.propose(command(op)))?;
        Ok(LogIndex(u64::from_be_bytes(answer[..].try_into().unwrap())))
    }

    /// Proposes all of `ops` at once.
    fn propose_all(&self, ops: impl IntoIterator<Item = Op>) -> Vec<u64> {
        self.runtime.block_on(async {
            let proposals = ops.into_iter().map(|op| {
                let command = command(&op);
                async { u64::from_be_bytes(self.node.propose(command).await.unwrap()[..].try_into().unwrap()) }
            });
            futures::future::join_all(proposals).await
        })
    }

    /// Some history with puts, deletes and appends, different for each `seed`.
    fn fill(&self, seed: u32, commands: u32) {
        self.propose_all((0..commands).map(|n| {
            let x = (n + seed).wrapping_mul(2_654_435_761);
            match x >> 29 {
                0 => Op::Delete(x % 500),
                1..=3 => Op::Append(x % 500, n as u8),
                _ => Op::Put(x % 500, vec![n as u8; (x % 90) as usize].into()),
            }
        }));
    }

    fn checkpoint(&self) -> LogIndex {
        self.runtime.block_on(self.node.checkpoint()).unwrap()
    }

    fn state(&self) -> Vec<Pair> {
        self.node.keyspace().view().scan(&[1], &[TAG_TAIL]).map(Result::unwrap).collect()
    }

    fn shut_down(self) {
        self.runtime.block_on(self.node.shutdown()).unwrap();
        self.end();
    }

    /// Ends it without a shutdown.
    fn end(self) {
        drop(self.node);
        self.runtime.shutdown_timeout(std::time::Duration::from_secs(10));
    }
}
