//! Repair: chunks with too few, damaged or surplus copies.
//!
//! [`census`] goes through the chunk table, counts, and finds what is not as it should be; events (a failed write, a damaged
//! block) are quicker than it. Both fill the [`queue`], ordered by copies left, then by age. [`worker`]s take from it: [`plan`] decides
//! from values what to do about one chunk, [`mend`] does it, as fast as the [`throttle`] allows.

pub mod census;
pub mod mend;
pub mod plan;
pub mod queue;
pub mod throttle;
pub mod worker;

pub use queue::{BadCopy, Complaint, Job, RepairQueue, Urgency};
