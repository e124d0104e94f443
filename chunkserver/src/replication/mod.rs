//! What chunkservers do together: pass writes down the chain, fetch copies from each other, make copies identical again.
//!
//! [`Replication`] is one server's end of it, over its own [`Store`] and connections to the others ([`peers`]). Who is in a
//! chain, who copies from whom, and when, is decided by the metaserver and by clients: see [`crate::service`].

mod chain;
mod copy;
mod hand_back;
mod peers;
mod reconcile;
mod runs;

use cairn_proto::chunkserver::MemberAck;

use crate::store::Store;
use peers::Peers;

/// One server's part in replication. Clones are the same.
#[derive(Clone, Debug)]
pub struct Replication {
    store: Store,
    peers: Peers,
    us: MemberAck,
}

impl Replication {
    /// `us` is how this server signs.
    pub fn new(store: Store, us: MemberAck) -> Self {
        Self { store, peers: Peers::default(), us }
    }

    pub fn us(&self) -> MemberAck {
        self.us
    }
}
