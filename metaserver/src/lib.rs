//! CairnFS metaserver.

pub mod store;
