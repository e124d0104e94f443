//! A log that is nowhere but in memory: for tests and simulation.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_proto::error::FsError;
use cairn_proto::ids::LogIndex;
use parking_lot::Mutex;

use crate::command::Command;
use crate::namespace::{self, Reply};
use crate::state::{Log, refusal};
use crate::store::{Keyspace, StoreError, Txn};

/// Applies what is proposed, at once.
#[derive(Debug)]
pub struct LocalLog {
    keyspace: Arc<Keyspace>,
    index: Mutex<u64>,
}

impl LocalLog {
    pub fn new(keyspace: Arc<Keyspace>) -> Self {
        Self { keyspace, index: Mutex::new(0) }
    }

    fn apply(&self, command: &Command) -> Result<Result<Reply, FsError>, StoreError> {
        let mut index = self.index.lock();
        *index += 1;
        let (reply, writes) = {
            let view = self.keyspace.view();
            let mut txn = Txn::new(&view);
            let reply = namespace::apply(&mut txn, LogIndex(*index), command)?;
            (reply, txn.into_writes())
        };
        self.keyspace.commit(writes, Bytes::copy_from_slice(&index.to_be_bytes()))?;
        Ok(reply)
    }
}

#[async_trait]
impl Log for LocalLog {
    async fn propose(&self, command: Command) -> Result<Result<Reply, FsError>, FsError> {
        self.apply(&command).map_err(|error| refusal(error.into()))
    }

    fn keyspace(&self) -> &Arc<Keyspace> {
        &self.keyspace
    }

    fn applied(&self) -> LogIndex {
        LogIndex(*self.index.lock())
    }

    async fn checkpoint(&self) -> Result<LogIndex, FsError> {
        Ok(self.applied())
    }
}
