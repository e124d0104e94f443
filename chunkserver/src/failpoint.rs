//! The points of the write path at which a test can have a chunkserver die: see [`cairn_runtime::faults`]. Each says what must hold after
//! dying there; whatever it is, the copies of the chunk become identical again, with every byte that was synced (suite `crash_points`).

pub use cairn_runtime::faults::crash_point;

/// A chunk that did not exist has a file now, which is empty and not durable: the writer goes on without this copy, or finds it again.
pub const AFTER_CREATE: &str = "chunk-after-create";
/// The header says dirty, durably; no byte of the data has changed. The copy must come back whole, with nothing in doubt.
pub const AFTER_HEADER_DIRTY: &str = "chunk-after-header-dirty";
/// The table announces sums of data that is not written yet: every block must be found to match its previous sum.
pub const AFTER_TABLE: &str = "chunk-after-table";
/// Data and table are written, nobody has been told: every block must be found to match its sum.
pub const AFTER_DATA: &str = "chunk-after-data";
/// A write, a sync or a hand-back came in at the head of a chain and has gone no further: the copies may differ and must be reconciled.
pub const BEFORE_FORWARD: &str = "chunk-before-forward";
/// This server and all behind it have written, and whoever asked is not told: it may be repeated, and that changes nothing.
pub const BEFORE_ANSWER: &str = "chunk-before-answer";
/// Synced here, and nobody is told: the bytes are there after a power cut, whether anybody counts on them or not.
pub const AFTER_SYNC: &str = "chunk-after-sync";
/// Handed back and synced, and not marked clean: dirty it may always be.
pub const BEFORE_CLEAN: &str = "chunk-before-clean";
