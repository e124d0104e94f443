//! The two ways in which something asked of the namespace fails.

use cairn_proto::error::FsError;
use thiserror::Error;

use crate::store::StoreError;

/// Either an answer or an accident.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// The answer is no. It goes to whoever asked.
    #[error("{0}")]
    Refused(#[from] FsError),
    /// The store could not be read. The caller must give up the transaction and stop using the store.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// What operations and queries answer.
pub type Outcome<T> = Result<T, NamespaceError>;
