//! One file a command.

pub mod checkpoint;
pub mod chunkserver;
pub mod df;
pub mod fsck;
pub mod info;
pub mod metaserver;
pub mod mount;
pub mod policy;
pub mod repair;
pub mod scrub;
pub mod server;
pub mod simulate;
pub mod stats;
pub mod status;
pub mod sync;
pub mod trash;
pub mod umount;
pub mod up;

use std::time::Duration;

use anyhow::Result;

/// For a daemon's last tasks to end after it was told to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Runs a daemon's future.
///
/// On half of the cores: the threads of FUSE, of the disks and of the log want the others, and a request that is passed on within a
/// thread is faster than one that wakes another. On two cores, one thread made metadata changes a tenth faster than two,
/// with half of the context switches. The runtime's own `TOKIO_WORKER_THREADS` says otherwise.
fn serve(future: impl Future<Output = Result<()>>) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        runtime.worker_threads((cores / 2).max(1));
    }
    runtime.enable_all().build()?.block_on(future)
}
