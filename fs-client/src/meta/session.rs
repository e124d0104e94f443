//! One session, and one connection on which it is open.

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::ids::{ClusterId, SessionId};
use cairn_proto::meta::{MetaServiceClient, SessionGrant};

use super::ops::OpWindow;

/// A session as the metaserver granted it. It outlives connections.
#[derive(Debug)]
pub(super) struct Session {
    pub id: SessionId,
    pub cluster: ClusterId,
    /// Silence after which the metaserver gives it up.
    pub term: Duration,
    /// The incarnation of the metaserver that opened it.
    pub opened_by: u64,
    pub ops: Arc<OpWindow>,
}

impl From<SessionGrant> for Session {
    fn from(grant: SessionGrant) -> Self {
        Self {
            id: grant.session,
            cluster: grant.cluster,
            term: Duration::from_millis(grant.term_ms),
            opened_by: grant.incarnation,
            ops: Arc::new(OpWindow::new(grant.session)),
        }
    }
}

/// A connection on which the session is open: what a call needs.
#[derive(Clone, Debug)]
pub(super) struct Established {
    /// Ascending with every connection, so that bad news of an old one is recognised.
    pub epoch: u64,
    pub rpc: MetaServiceClient,
    pub session: Arc<Session>,
    /// Of the metaserver: another one after each of its starts.
    pub incarnation: u64,
}
