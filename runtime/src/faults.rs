//! Faults that a test can ask for: compiled in by the feature `faults`, which no build for users has, and asked for by the environment.
//!
//! - `CAIRN_CRASH_POINT=name` has the process die as by `kill -9` the first time that it passes the point of that name, `name:N` the Nth
//!   time. Where the points are, and what must hold after dying there, is said where they are named.
//! - `CAIRN_FAULTS=name,name` turns faults on for the life of the process.
//!
//! Without the feature all of it is nothing, and costs nothing.

/// Leases are granted and never recalled, so that mounts do not agree: shows that the tests would notice.
pub const NO_RECALL: &str = "no-recall";
/// Each start of a chunkserver is as after a power cut: nothing is left on its disk that was not synced, and its kernel has booted anew.
pub const POWER_CUTS: &str = "power-cuts";
/// A chunkserver's disk answers every call with an error while the file `DIR.eio` is there, beside its data directory `DIR`.
pub const DISK_ERRORS: &str = "disk-errors";

/// Whether the environment asks for a fault.
#[cfg(feature = "faults")]
pub fn is_on(fault: &str) -> bool {
    use std::sync::OnceLock;

    static ON: OnceLock<String> = OnceLock::new();
    let on = ON.get_or_init(|| std::env::var("CAIRN_FAULTS").unwrap_or_default());
    on.split(',').any(|name| name == fault)
}

/// It does not.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn is_on(_fault: &str) -> bool {
    false
}

/// Dies here if this is the point that the environment names.
#[cfg(feature = "faults")]
pub fn crash_point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("CAIRN_CRASH_POINT").ok()?;
        Some(match text.split_once(':') {
            Some((point, count)) => (point.to_owned(), count.parse().unwrap_or(1)),
            None => (text, 1),
        })
    });
    if let Some((point, count)) = armed
        && point == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        tracing::warn!(point, count, "dying at a crash point");
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Nothing happens.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn crash_point(_name: &str) {}
