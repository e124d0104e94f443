//! The raft node as the [`Log`] of the namespace: commands encoded on the way in, replies decoded on the way out.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_proto::error::FsError;
use cairn_proto::ids::LogIndex;
use tokio::task::coop::unconstrained;

use crate::command::{Command, CommandError};
use crate::namespace::{self, Reply};
use crate::raft::{Machine, MetaNode, ProposeError};
use crate::state::Log;
use crate::store::{Keyspace, StoreError, Txn};

/// Answers cross from the applying thread to the proposer as bytes, within one process: no format version.
type Answer = Result<Reply, FsError>;

/// The namespace as the raft node applies it.
#[derive(Debug)]
pub struct NamespaceMachine;

impl Machine for NamespaceMachine {
    /// A command that does not decode was written by a newer release, or is damage that a checksum did not find: either way
    /// going on without it would be another state than everybody else's.
    fn apply(&self, txn: &mut Txn<'_>, index: LogIndex, command: &[u8]) -> Result<Vec<u8>, StoreError> {
        let unreadable = |error: CommandError| io::Error::new(io::ErrorKind::InvalidData, error);
        let command = Command::decode(command)
            .map_err(|error| StoreError::Io { action: "reading a command of the log", source: unreadable(error) })?;
        let answer: Answer = namespace::apply(txn, index, &command)?;
        Ok(postcard::to_stdvec(&answer).expect("a reply holds nothing that cannot be encoded"))
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct NodeLog {
    pub node: MetaNode,
}

#[async_trait]
impl Log for NodeLog {
    async fn propose(&self, command: Command) -> Result<Answer, FsError> {
        // A task that has used up its budget would be told to come back later, and those that come back come in another order.
        let proposed = unconstrained(self.node.propose(Bytes::from(command.encode())));
        let answer = proposed.await.map_err(refusal)?;
        postcard::from_bytes(&answer).map_err(|error| {
            tracing::error!(%error, "an answer of the state machine does not decode");
            FsError::Storage
        })
    }

    fn keyspace(&self) -> &Arc<Keyspace> {
        self.node.keyspace()
    }

    fn applied(&self) -> LogIndex {
        self.node.applied()
    }

    async fn checkpoint(&self) -> Result<LogIndex, FsError> {
        self.node.checkpoint().await.map_err(|error| {
            tracing::error!(%error, "no checkpoint was taken");
            FsError::Storage
        })
    }
}

fn refusal(error: ProposeError) -> FsError {
    match error {
        ProposeError::NoSpace => FsError::NoSpace,
        ProposeError::TooLarge { .. } => FsError::InvalidArgument,
        // Whether it was done will be known after a restart: the client asks again then, and the ledger answers.
        ProposeError::NotLeader { .. } | ProposeError::Stopped(_) => {
            tracing::debug!(%error, "a command was not applied");
            FsError::NotReady
        }
    }
}
