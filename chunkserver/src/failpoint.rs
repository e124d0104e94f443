//! Places where a test can have the process die as by `kill -9`.
//!
//! Compiled in by the feature `failpoints`, and armed by the environment: `CAIRN_CRASH_POINT=name` dies the first time that
//! `name` is passed, `CAIRN_CRASH_POINT=name:N` the Nth time. Each constant says what must hold after dying there.

/// The header says dirty, durably; no byte of the data has changed. The copy must come back whole, with nothing in doubt.
pub const AFTER_HEADER_DIRTY: &str = "after-header-dirty";
/// The table announces sums of data that is not written yet: every block must be found to match its previous sum.
pub const AFTER_TABLE: &str = "after-table";
/// Data and table are written, nobody has been told: every block must be found to match its sum.
pub const AFTER_DATA: &str = "after-data";
/// A write came in at the head of a chain and has gone no further: the copies differ and must be reconciled.
pub const BEFORE_FORWARD: &str = "before-forward";

/// Dies here if this is the point that the environment names.
#[cfg(feature = "failpoints")]
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

/// Without the feature: nothing.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn crash_point(_name: &str) {}
