//! The session with the metaserver.
//!
//! [`MetaClient`] is what the rest of the client sees: one method per mutation and per query. Below it, from the wire up: the
//! link keeps a connection with an open session on it, and takes the session up again after a lost connection or a
//! restart of the metaserver; the ops window names mutations, so that a repeated one is answered and not done twice; the retry
//! loop waits out what passes. Nothing in here holds a lock while it waits for the network, and everything that waits ends with
//! [`MetaError::Stopping`] once the mount is taken down.

mod ahead;
mod client;
mod config;
mod error;
mod io;
mod link;
mod locks;
mod mutations;
mod opens;
mod ops;
mod outage;
mod queries;
mod retry;
mod session;
mod term;

#[cfg(test)]
mod tests;

pub use ahead::{AheadOp, Standing};
pub use client::{CloseError, MetaClient};
pub use config::{MetaConfig, StartError};
pub use error::MetaError;
pub use mutations::{Entry, NewEntry, Renamed};
pub use outage::Outage;
pub use term::Term;
