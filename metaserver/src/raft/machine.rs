//! What commands do: the seam to the namespace.

use cairn_proto::ids::LogIndex;

use crate::store::{StoreError, Txn};

/// Applies commands. There is one for the whole life of a node, and it keeps no state of its own: all of it is in the store.
pub trait Machine: Send + Sync + 'static {
    /// Applies `command` and returns the answer to whoever proposed it.
    ///
    /// Deterministic: the same command on the same state makes the same writes, on every node and in every replay. `index`
    /// is the command's own number, one more than that of the command before it. A rejection is an answer; an error is for a
    /// store that cannot be read, and stops the node.
    fn apply(&self, txn: &mut Txn<'_>, index: LogIndex, command: &[u8]) -> Result<Vec<u8>, StoreError>;
}
