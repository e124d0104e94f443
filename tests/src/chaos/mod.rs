//! Chaos: a load that knows what it was promised, on a cluster whose servers are killed, stopped, cut off, slowed, filled and damaged.
//!
//! Workers ([`worker`], processes of their own) work on files of their own on one mount, and look at them through another one. What was
//! acknowledged they do in a mirror on a local disk, too, and keep in their [`ledger`] what was fsynced of it, and what nobody can tell:
//! that of calls which failed as they may. [`load`] runs them. [`faults`] is what happens meanwhile, and keeps within what the copies
//! allow; [`damage`] is the part of it that is done to chunk files. [`verdict`] compares everything in the end.

pub mod damage;
pub mod faults;
pub mod ledger;
pub mod load;
pub mod ranges;
pub mod verdict;
pub mod worker;
