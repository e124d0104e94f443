//! CairnFS metaserver.
