//! How to reach the metaserver.

use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::meta::ClientInfo;
use cairn_proto::transport::{ConnectError, Endpoint};

/// For one attempt of one call; then the same is asked again, on the same connection.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// What a session needs to know.
#[derive(Clone, Debug)]
pub struct MetaConfig {
    pub endpoint: Endpoint,
    /// How this client introduces itself.
    pub info: ClientInfo,
    /// How long an operation may wait for the metaserver before it fails. `None`: for as long as it takes.
    pub timeout: Option<Duration>,
    /// How long to try for a first session.
    pub start_timeout: Duration,
}

/// Why there is no first session.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("metaserver {endpoint} cannot be reached")]
    Unreachable {
        endpoint: Endpoint,
        #[source]
        source: ConnectError,
    },
    #[error("metaserver {endpoint} was reached, but did not open a session within {waited:?}")]
    TimedOut { endpoint: Endpoint, waited: Duration },
    #[error("metaserver {endpoint} refused a session")]
    Refused {
        endpoint: Endpoint,
        #[source]
        source: FsError,
    },
}
