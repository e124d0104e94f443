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

use std::time::Duration;

use anyhow::Result;

/// For a daemon's last tasks to end after it was told to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Runs a daemon's future on all cores.
fn serve(future: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}
