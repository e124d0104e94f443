//! Whether a disk can be relied on: the errors of its calls are counted here, and when there are too many it has failed, for good.
//!
//! A block that cannot be read is damage of one copy, and nothing more: others are asked for. But a disk of which many files cannot be read or
//! written, or not the one that is written now and then to try it ([`super::probe`]), is worse than none: each write through it fails or hangs,
//! and what it acknowledges may never be on it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A disk has failed when calls for so many of its files fail within [`WINDOW`]: more than a few bad blocks bring about.
const MOST_FILES: usize = 8;
const WINDOW: Duration = Duration::from_secs(60);

/// How one disk is.
#[derive(Debug, Default)]
pub struct Health {
    errors: AtomicU64,
    failed: AtomicBool,
    inner: Mutex<Inner>,
    /// Told of each error.
    noted: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    why: Option<String>,
    /// Files for which calls have failed of late, and when last.
    recent: HashMap<PathBuf, Instant>,
}

impl Health {
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Calls that have failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Why it has failed.
    pub fn why(&self) -> Option<String> {
        self.inner.lock().why.clone()
    }

    /// From here on it has failed. The first reason stays.
    pub fn fail(&self, why: &str) {
        self.inner.lock().why.get_or_insert_with(|| why.to_owned());
        self.failed.store(true, Ordering::Release);
        self.noted.notify_one();
    }

    /// A call for a file came to this.
    pub fn note(&self, path: &Path, error: &io::Error) {
        self.note_at(path, error, Instant::now());
    }

    fn note_at(&self, path: &Path, error: &io::Error, now: Instant) {
        if !is_fault(error) {
            return;
        }
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.inner.lock();
        inner.recent.retain(|_, at| now.saturating_duration_since(*at) < WINDOW);
        inner.recent.insert(path.to_owned(), now);
        let files = inner.recent.len();
        drop(inner);
        match files {
            MOST_FILES.. => self.fail(&format!("{files} of its files failed within a minute, the last with: {error}")),
            _ => self.noted.notify_one(),
        }
    }

    /// Returns when there was an error since the last time.
    pub async fn noted(&self) {
        self.noted.notified().await;
    }
}

/// Whether an error says that the disk is at fault, and not that it is full, that a file is not there, or that the process may not have more.
fn is_fault(error: &io::Error) -> bool {
    let faults = [
        libc::EIO,
        libc::EROFS,
        libc::ENODEV,
        libc::ENXIO,
        libc::EUCLEAN,
        libc::EBADMSG,
        libc::EREMOTEIO,
        libc::ESTALE,
        libc::ENOTCONN,
        libc::ESHUTDOWN,
        libc::ETIMEDOUT,
    ];
    error.raw_os_error().is_some_and(|errno| faults.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(health: &Health, file: usize, errno: i32, at: Instant) {
        health.note_at(Path::new(&format!("/d/{file}")), &io::Error::from_raw_os_error(errno), at);
    }

    #[test]
    fn many_files_within_a_minute_are_too_many() {
        let (health, now) = (Health::default(), Instant::now());
        (0..100).for_each(|_| note(&health, 1, libc::EIO, now));
        (2..MOST_FILES).for_each(|file| note(&health, file, libc::EROFS, now));
        assert_eq!((health.has_failed(), health.errors()), (false, 98 + MOST_FILES as u64));
        note(&health, 99, libc::EIO, now);
        assert!(health.has_failed() && health.why().unwrap().contains("8 of its files"), "{:?}", health.why());
        health.fail("another reason");
        assert!(health.why().unwrap().contains("8 of its files"));
    }

    #[test]
    fn what_is_long_ago_or_not_the_disks_fault_does_not_count() {
        let (health, now) = (Health::default(), Instant::now());
        (0..100).for_each(|file| note(&health, file, libc::EIO, now + file as u32 * WINDOW / 4));
        (0..100).for_each(|file| note(&health, file, libc::ENOSPC, now));
        (0..100).for_each(|file| note(&health, file, libc::ENOENT, now));
        assert_eq!((health.has_failed(), health.errors()), (false, 100));
    }
}
