//! One file a command.

pub mod checkpoint;
pub mod chunkserver;
pub mod df;
pub mod fsck;
pub mod info;
pub mod metaserver;
pub mod mount;
pub mod policy;
pub mod status;
pub mod umount;
pub mod up;
