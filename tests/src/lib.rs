//! CairnFS tests.
