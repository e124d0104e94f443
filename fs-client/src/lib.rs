//! CairnFS fs-client.
