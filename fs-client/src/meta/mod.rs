//! The session with the metaserver.

mod error;

pub use error::MetaError;
