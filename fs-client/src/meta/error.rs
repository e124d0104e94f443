//! Why a call to the metaserver brought no result.

use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::transport::Endpoint;

/// A call that failed for good: lost connections and transient refusals have been waited out and retried by then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The metaserver's own answer.
    #[error(transparent)]
    Refused(#[from] FsError),
    /// Only where the mount has a `timeout`: without one, calls wait for as long as it takes.
    #[error("metaserver {endpoint} gave no answer within {waited:?}")]
    TimedOut { endpoint: Endpoint, waited: Duration },
    /// The mount is being taken down.
    #[error("the mount is being taken down")]
    Stopping,
    /// The session was given up by the metaserver while this was under way, so nobody knows whether it was done.
    #[error("the session with the metaserver was lost half way through")]
    SessionLost,
    /// A reply of the wrong kind: the two ends do not agree on the protocol.
    #[error("metaserver {endpoint} answered {asked} with something else")]
    Unexpected { endpoint: Endpoint, asked: &'static str },
    /// The request exceeds what a frame may carry.
    #[error("{asked} is too large to send")]
    TooLarge { asked: &'static str },
}

impl MetaError {
    /// The metaserver's answer, where it is one.
    pub fn refusal(&self) -> Option<&FsError> {
        match self {
            Self::Refused(error) => Some(error),
            Self::TimedOut { .. }
            | Self::Stopping
            | Self::SessionLost
            | Self::Unexpected { .. }
            | Self::TooLarge { .. } => None,
        }
    }
}
