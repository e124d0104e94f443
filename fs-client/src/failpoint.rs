//! The points of the write path at which a test can have a client die: see [`cairn_runtime::faults`]. Each says what must hold after dying
//! there; whatever it is, the copies of each chunk become identical again, and whatever was synced before is there (suite `crash_points`).

pub use cairn_runtime::faults::crash_point;

/// There is a chunk for a piece, and nothing was sent to it: the chunk may be empty for ever, or be removed.
pub const BEFORE_PIECE: &str = "client-before-piece";
/// A piece is acknowledged by all copies, and the metaserver has not been told: the bytes may be there or not, on all copies alike.
pub const AFTER_PIECE: &str = "client-after-piece";
/// A member of a chain has failed, and nobody was told: it has missed a write, and must not be read from before that is made good.
pub const BEFORE_REPLACE: &str = "client-before-replace";
/// The metaserver knows of bytes that were not synced.
pub const AFTER_COMMIT: &str = "client-after-commit";
/// All is synced, and the program is not told.
pub const AFTER_SYNC: &str = "client-after-sync";
/// Chunks are synced and left dirty.
pub const BEFORE_HAND_BACK: &str = "client-before-hand-back";
