//! CairnFS runtime.
