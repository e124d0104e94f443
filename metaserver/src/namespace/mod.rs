//! The namespace: the one state machine of the metaserver.
//!
//! [`apply`] is the only way in which it changes: command in, reply or refusal out, writes into a transaction. It is
//! deterministic: no clock, no randomness, no state but the store's. What it knows stands in one ordered keyspace (see `keys`),
//! a file here for each noun; `ops/` has a file for each operation, [`query`] what is read, [`check`] the invariants.
//!
//! Not here: who may (the client's kernel checks permissions), who has a file open, where chunkservers are, and everything else
//! that a metaserver learns anew when it starts.

mod acl;
mod ahead;
mod change;
pub mod check;
pub mod chunk;
pub mod cluster;
pub mod counters;
pub mod delegation;
pub mod dentry;
mod error;
pub mod garbage;
pub mod inode;
mod keys;
pub mod ledger;
pub mod link;
mod ops;
pub mod orphan;
pub mod placement;
pub mod query;
mod reply;
pub mod server;
pub mod session;
pub mod slot;
pub mod trash;
mod tunables;
mod value;
pub mod xattr;

use cairn_proto::error::FsError;
use cairn_proto::ids::LogIndex;

pub use error::{NamespaceError, Outcome};
pub use ops::reap::{MAX_REAP_CHUNKS, MAX_REAP_INODES};
pub use reply::{ChunkView, Reply};

use crate::command::Command;
use crate::store::{StoreError, Txn};
use change::Change;
use ledger::Admission;

/// Applies a command that stands in the log at `index`.
///
/// A refusal is an answer like another; it leaves no writes but its entry in the ledger. After an error the transaction must be
/// thrown away as a whole.
pub fn apply(txn: &mut Txn<'_>, index: LogIndex, command: &Command) -> Result<Result<Reply, FsError>, StoreError> {
    if let Some(origin) = command.origin
        && let Admission::Answered(result) = ledger::admit(txn, origin)?
    {
        return Ok(result);
    }
    let caller = command.origin.map(|origin| origin.op.session);
    let mut change = Change::new(txn.nested(), index, command.at, caller);
    let result = match ops::execute(&mut change, &command.body) {
        Ok(reply) => {
            let writes = change.into_writes();
            txn.absorb(writes);
            Ok(reply)
        }
        Err(NamespaceError::Refused(refusal)) => Err(refusal),
        Err(NamespaceError::Store(error)) => return Err(error),
    };
    if let Some(origin) = command.origin {
        ahead::answered(txn, command, &result)?;
        ledger::record(txn, origin, &result);
    }
    Ok(result)
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod limits;
