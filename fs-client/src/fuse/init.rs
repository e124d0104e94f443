//! What is agreed with the kernel when the file system is mounted.

use fuser::{InitFlags, KernelConfig};

/// Bytes in the largest read or write request: what the kernel allows by default (`fs.fuse.max_pages_limit`, 256 pages).
pub const MAX_REQUEST_BYTES: u32 = 1 << 20;

/// Requests that nobody waits for (read-ahead, asynchronous direct I/O) that the kernel may have under way.
const MAX_BACKGROUND_REQUESTS: u16 = 128;

/// What CairnFS asks for. An older kernel without one of them makes a slower file system, not a wrong one, unless it stands in
/// [`REQUIRED`].
const WANTED: [InitFlags; 12] = [
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_BIG_WRITES,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    InitFlags::FUSE_CACHE_SYMLINKS,
    // Without these two the kernel keeps locks for itself, and they do not hold across mounts.
    InitFlags::FUSE_POSIX_LOCKS,
    InitFlags::FUSE_FLOCK_LOCKS,
    // With it the kernel need not ask for file capabilities before every write.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    // Pages are dropped when CairnFS says so. The kernel's own rule drops them whenever the modification time has moved, which
    // it does with every write of this mount itself.
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
];

/// Without these, some operations would do something else than they must.
const REQUIRED: [InitFlags; 3] = [
    // The umask is not applied where a default ACL decides.
    InitFlags::FUSE_DONT_MASK,
    InitFlags::FUSE_POSIX_ACL,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
];

/// Negotiates. The error names what the kernel lacks.
pub(super) fn negotiate(config: &mut KernelConfig) -> Result<(), std::io::Error> {
    for flag in REQUIRED {
        config.add_capabilities(flag).map_err(|missing| {
            std::io::Error::new(
                std::io::ErrorKind::Unsupported,
                format!("the kernel's FUSE is too old: it lacks {missing:?}"),
            )
        })?;
    }
    for flag in WANTED {
        if let Err(missing) = config.add_capabilities(flag) {
            tracing::info!(?missing, "the kernel's FUSE lacks a capability");
        }
    }
    // Both setters answer with the nearest value that is allowed.
    if let Err(nearest) = config.set_max_write(MAX_REQUEST_BYTES) {
        let _ = config.set_max_write(nearest);
    }
    if let Err(nearest) = config.set_max_readahead(MAX_REQUEST_BYTES) {
        let _ = config.set_max_readahead(nearest);
    }
    let _ = config.set_max_background(MAX_BACKGROUND_REQUESTS);
    Ok(())
}
