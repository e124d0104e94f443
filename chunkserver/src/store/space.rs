//! How much room there is, and when to say that there is none.
//!
//! A disk that is really full cannot even store a new sum. So a reserve is kept: writes are turned down while there is still
//! room for headers, for the identity file, and for the operator's tools.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::disk::{Capacity, Disk};

/// How long an answer of the file system is relied on: asking before each write costs as much as the write of a page.
pub(super) const RELIED_ON: Duration = Duration::from_millis(20);

/// The part of the reserve that may be admitted on the strength of one answer, however fresh it is.
const PART_UNSEEN: u64 = 8;

/// Watches the file system that a data directory is on.
#[derive(Debug)]
pub struct SpaceGauge {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Bytes that chunks never get.
    reserve: u64,
    /// The last answer, where it left so much that it can be relied on.
    plenty: Mutex<Option<Plenty>>,
}

/// There was more than can be admitted before the file system is asked again.
#[derive(Clone, Copy, Debug)]
struct Plenty {
    seen: Instant,
    /// Bytes admitted since.
    admitted: u64,
}

impl SpaceGauge {
    pub fn new(disk: Arc<dyn Disk>, root: PathBuf, reserve: u64) -> Self {
        Self { disk, root, reserve, plenty: Mutex::default() }
    }

    /// Whether `bytes` more may be written.
    ///
    /// While there is plenty the file system is asked only now and then: what is admitted in between was free beside the
    /// reserve when it last answered, so only others that use it can get at the reserve, for [`RELIED_ON`]. Where little is
    /// left it is asked each time. What is being written meanwhile is not counted; the reserve has room for that.
    pub fn admits(&self, bytes: u64) -> io::Result<bool> {
        Ok(bytes == 0 || self.admits_at(bytes, Instant::now())?)
    }

    fn admits_at(&self, bytes: u64, now: Instant) -> io::Result<bool> {
        let mut plenty = self.plenty.lock();
        if let Some(plenty) = &mut *plenty
            && now.saturating_duration_since(plenty.seen) < RELIED_ON
            && plenty.admitted.saturating_add(bytes) <= self.unseen()
        {
            plenty.admitted += bytes;
            return Ok(true);
        }
        // Under the lock: others who find the answer too old need not ask as well.
        let free = self.free()?;
        *plenty = (free >= bytes.saturating_add(self.unseen())).then_some(Plenty { seen: now, admitted: bytes });
        Ok(free >= bytes)
    }

    /// Bytes that may be admitted between two questions.
    fn unseen(&self) -> u64 {
        self.reserve / PART_UNSEEN
    }

    /// With the reserve taken off what is free.
    pub fn capacity(&self) -> io::Result<Capacity> {
        let Capacity { total, free } = self.disk.capacity(&self.root)?;
        Ok(Capacity { total, free: free.saturating_sub(self.reserve) })
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.capacity()?.free)
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::sim::{Faults, SimDisk};
    use super::*;

    #[test]
    fn the_reserve_is_kept() {
        let disk = SimDisk::new(1);
        let free = |bytes| disk.set_faults(Faults { free: Some(bytes), ..Faults::default() });
        let gauge = SpaceGauge::new(Arc::new(disk.clone()), PathBuf::new(), 300);
        free(1000);
        assert!(gauge.admits(700).unwrap());
        assert!(!gauge.admits(701).unwrap());
        free(299);
        assert!(!gauge.admits(1).unwrap());
        assert!(gauge.admits(0).unwrap(), "overwriting needs no room");
        assert_eq!(gauge.capacity().unwrap().free, 0);
    }

    /// A disk with so much free, a gauge that keeps 800 bytes of it, and the time.
    fn watched(free: u64) -> (SimDisk, SpaceGauge, Instant) {
        let disk = SimDisk::new(1);
        disk.set_faults(Faults { free: Some(free), ..Faults::default() });
        let gauge = SpaceGauge::new(Arc::new(disk.clone()), PathBuf::new(), 800);
        (disk, gauge, Instant::now())
    }

    #[test]
    fn an_answer_is_relied_on_for_a_while_and_for_some_bytes() {
        let (disk, gauge, now) = watched(10_000);
        let just_before = now + RELIED_ON - Duration::from_nanos(1);
        for at in [now, now, just_before] {
            assert!(gauge.admits_at(30, at).unwrap());
        }
        assert_eq!(disk.capacity_asked(), 1);
        assert!(gauge.admits_at(20, just_before).unwrap(), "an eighth of the reserve is used up");
        assert_eq!(disk.capacity_asked(), 2);
        assert!(gauge.admits_at(20, just_before + RELIED_ON).unwrap(), "the answer is too old");
        assert!(gauge.admits_at(101, just_before + RELIED_ON).unwrap(), "more than is ever admitted unseen");
        assert_eq!(disk.capacity_asked(), 4);
    }

    #[test]
    fn the_file_system_is_asked_each_time_when_little_is_left() {
        let (disk, gauge, now) = watched(800 + 110);
        for asked in 1..=10 {
            assert!(gauge.admits_at(11, now).unwrap());
            assert_eq!(disk.capacity_asked(), asked);
        }
        assert!(!gauge.admits_at(111, now).unwrap());
    }

    /// Writers that use what they are admitted at once, until they are turned down.
    #[test]
    fn what_is_admitted_never_eats_the_reserve() {
        for bytes in [1, 7, 50, 99, 100, 250] {
            let (disk, gauge, now) = watched(5_000);
            let mut free = 5_000;
            while gauge.admits_at(bytes, now).unwrap() {
                free -= bytes;
                disk.set_faults(Faults { free: Some(free), ..Faults::default() });
            }
            assert!((800..800 + bytes).contains(&free), "{bytes} at a time: {free} are left");
        }
    }
}
