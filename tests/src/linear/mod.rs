//! Linearizability: whether what several programs saw on several mounts could have been seen on one machine.
//!
//! Workers ([`worker`], processes of their own) make random calls on a few shared files and write down when each began and what it
//! came to ([`record`]). [`history`] gathers that for each file, as [`model`] describes it, and [`checker`] looks for an order in
//! which the calls could have happened one by one. [`load`] runs the workers, and [`faults`] what they have to live with.

pub mod checker;
pub mod faults;
pub mod history;
pub mod load;
pub mod model;
pub mod record;
pub mod value;
pub mod worker;
