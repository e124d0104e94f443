//! CairnFS bench.
