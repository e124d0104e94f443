//! CairnFS proto.
