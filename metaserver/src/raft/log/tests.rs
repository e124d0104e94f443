//! The log under failing disks, torn writes and flipped bits.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::record::{HEADER_BYTES as RECORD_HEADER_BYTES, Record};
use super::segment::HEADER_BYTES;
use super::*;

/// A disk that fails when told to.
#[derive(Debug, Default)]
pub(crate) struct FaultyDisk {
    /// Allocations fail with ENOSPC, and writes beyond the end of the file.
    pub(crate) full: AtomicBool,
    /// Writes store half of their bytes and fail with ENOSPC.
    pub(crate) writes_fail: AtomicBool,
    /// Syncs fail with EIO.
    pub(crate) sync_fails: AtomicBool,
    pub(crate) sync_delay_ms: AtomicU64,
}

impl Disk for FaultyDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let beyond = offset + bytes.len() as u64 > file.metadata()?.len();
        if self.writes_fail.load(Ordering::SeqCst) || (beyond && self.full.load(Ordering::SeqCst)) {
            RealDisk.write_at(file, &bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        RealDisk.write_at(file, bytes, offset)
    }

    fn allocate(&self, file: &File, len: u64) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        RealDisk.allocate(file, len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(self.sync_delay_ms.load(Ordering::SeqCst)));
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        RealDisk.sync(file)
    }
}

const SEGMENT_BYTES: u32 = 4096;

fn open(dir: &Path) -> Result<Log, LogError> {
    Log::open(dir, SEGMENT_BYTES, Arc::new(RealDisk))
}

fn payload(index: u64) -> Bytes {
    vec![index as u8; (index * 37 % 300) as usize].into()
}

fn entries(range: std::ops::RangeInclusive<u64>, term: u64) -> Vec<(EntryId, Bytes)> {
    range.map(|index| (EntryId { index, term, node: 1 }, payload(index))).collect()
}

fn append_synced(log: &mut Log, range: std::ops::RangeInclusive<u64>) {
    log.append(&entries(range, 1)).unwrap();
    log.sync().unwrap();
}

fn held(log: &Log) -> Vec<(EntryId, Bytes)> {
    log.reader().read(0..u64::MAX).unwrap().into_iter().map(|record| (record.id, record.payload)).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    segment::list(dir).unwrap()
}

#[derive(Debug, Clone)]
enum Op {
    Append(u64),
    Truncate(u64),
    Purge(u64),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (1..20u64).prop_map(Op::Append),
        1 => (0..30u64).prop_map(Op::Truncate),
        1 => (0..40u64).prop_map(Op::Purge),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn log_is_a_vector(ops in prop::collection::vec(op(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path()).unwrap();
        let mut model: Vec<(EntryId, Bytes)> = Vec::new();
        for (term, op) in ops.into_iter().enumerate() {
            let last = model.last().map_or(0, |(id, _)| id.index);
            match op {
                Op::Append(n) => {
                    let new = entries(last + 1..=last + n, term as u64);
                    log.append(&new).unwrap();
                    log.sync().unwrap();
                    model.extend(new);
                }
                Op::Truncate(back) => {
                    let from = last.saturating_sub(back).max(log.reader().purged().index + 1);
                    log.truncate(from).unwrap();
                    model.retain(|(id, _)| id.index < from);
                }
                Op::Purge(back) => {
                    let Some(upto) = model.iter().rev().nth(back as usize).map(|(id, _)| *id) else { continue };
                    let before = log.reader().purged().index;
                    log.purge(upto).unwrap();
                    prop_assert!(log.reader().purged().index <= upto.index.max(before));
                }
                Op::Reopen => {
                    drop(log);
                    log = open(dir.path()).unwrap();
                }
            }
            let purged = log.reader().purged().index;
            let expected: Vec<_> = model.iter().filter(|(id, _)| id.index > purged).cloned().collect();
            prop_assert_eq!(held(&log), expected);
            prop_assert_eq!(log.reader().last().index, model.last().map_or(0, |(id, _)| id.index));
        }
    }

    /// Whatever pages of the last, unsynced write are lost, what was synced before it is all there.
    #[test]
    fn torn_write_loses_only_itself(lost in prop::collection::vec(any::<bool>(), 40), shorten in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path()).unwrap();
        append_synced(&mut log, 1..=5);
        let path = segments(dir.path()).pop().unwrap();
        let start = log.segments_end();
        log.append(&entries(6..=14, 1)).unwrap();
        let end = log.segments_end();
        drop(log);
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, lost) in lost.iter().enumerate() {
            let block = start + at * 64..(start + at * 64 + 64).min(end);
            if *lost && !block.is_empty() {
                bytes[block].fill(0);
            }
        }
        if shorten {
            bytes.truncate(end - 1);
        }
        std::fs::write(&path, &bytes).unwrap();
        let mut log = open(dir.path()).unwrap();
        let last = log.reader().last().index;
        prop_assert!((5..=14).contains(&last));
        prop_assert_eq!(held(&log), entries(1..=last, 1));
        // And it goes on from there.
        append_synced(&mut log, last + 1..=last + 3);
        drop(log);
        prop_assert_eq!(held(&open(dir.path()).unwrap()), entries(1..=last + 3, 1));
    }

    /// A flipped bit in what had been synced is never taken for a torn write, and never yields a wrong entry.
    #[test]
    fn flipped_bit_in_the_middle_is_fatal(place in any::<prop::sample::Index>(), bit in 0..8u8) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path()).unwrap();
        append_synced(&mut log, 1..=5);
        let middle = log.segments_end();
        append_synced(&mut log, 6..=8);
        drop(log);
        let path = segments(dir.path()).pop().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[place.index(middle)] ^= 1 << bit;
        std::fs::write(&path, &bytes).unwrap();
        match open(dir.path()) {
            Err(LogError::Damaged { path: named, offset, .. }) => {
                prop_assert_eq!(named, path);
                prop_assert!(offset < middle as u64);
            }
            // Padding and reserved bytes carry nothing.
            Ok(log) => prop_assert_eq!(held(&log), entries(1..=8, 1)),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

impl Log {
    fn segments_end(&self) -> usize {
        self.reader().bytes() as usize
    }
}

#[test]
fn damage_before_the_last_segment_is_fatal() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    append_synced(&mut log, 1..=40);
    append_synced(&mut log, 41..=60);
    drop(log);
    let paths = segments(dir.path());
    assert!(paths.len() > 1, "{paths:?}");
    let mut bytes = std::fs::read(&paths[0]).unwrap();
    let last = bytes.len() - 1;
    bytes[last - 16] ^= 1;
    std::fs::write(&paths[0], &bytes).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(&error, LogError::Damaged { path, .. } if *path == paths[0]), "{error}");
}

#[test]
fn lost_segment_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    for n in 0..10 {
        append_synced(&mut log, n * 20 + 1..=n * 20 + 20);
    }
    drop(log);
    let paths = segments(dir.path());
    assert!(paths.len() > 2);
    std::fs::remove_file(&paths[1]).unwrap();
    assert!(matches!(open(dir.path()), Err(LogError::Gap { path, .. }) if path == paths[2]));
}

#[test]
fn full_disk_fails_one_append_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let mut log = Log::open(dir.path(), SEGMENT_BYTES, disk.clone()).unwrap();
    append_synced(&mut log, 1..=3);
    disk.full.store(true, Ordering::SeqCst);
    disk.writes_fail.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(matches!(log.append(&entries(4..=9, 1)), Err(LogError::NoSpace { .. })));
    }
    assert_eq!(held(&log), entries(1..=3, 1));
    // A full disk at a segment's end, too.
    assert!(matches!(log.ensure_room(u64::from(SEGMENT_BYTES)), Err(LogError::NoSpace { .. })));
    drop(log);
    let mut log = Log::open(dir.path(), SEGMENT_BYTES, disk.clone()).unwrap();
    assert_eq!(held(&log), entries(1..=3, 1));
    disk.full.store(false, Ordering::SeqCst);
    disk.writes_fail.store(false, Ordering::SeqCst);
    append_synced(&mut log, 4..=9);
    drop(log);
    assert_eq!(held(&open(dir.path()).unwrap()), entries(1..=9, 1));
}

#[test]
fn room_is_kept_when_the_disk_fills_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    append_synced(&mut log, 1..=3);
    log.ensure_room(2000).unwrap();
    assert!(log.room() >= 2000);
    log.ensure_room(3900).unwrap();
    assert!(log.room() >= 3900, "{}", log.room());
    assert_eq!(segments(dir.path()).len(), 2);
}

#[test]
fn failed_sync_stops_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let mut log = Log::open(dir.path(), SEGMENT_BYTES, disk.clone()).unwrap();
    append_synced(&mut log, 1..=3);
    disk.sync_fails.store(true, Ordering::SeqCst);
    log.append(&entries(4..=4, 1)).unwrap();
    assert!(matches!(log.sync(), Err(LogError::Io { .. })));
    disk.sync_fails.store(false, Ordering::SeqCst);
    assert!(matches!(log.sync(), Err(LogError::Stopped(_))));
    assert!(matches!(log.append(&entries(5..=5, 1)), Err(LogError::Stopped(_))));
}

#[test]
fn out_of_order_and_oversized_entries_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    assert!(matches!(log.append(&entries(2..=2, 1)), Err(LogError::OutOfOrder { expected: 1, found: 2 })));
    let huge = vec![(EntryId { index: 1, term: 1, node: 1 }, Bytes::from(vec![0; MAX_PAYLOAD_BYTES + 1]))];
    assert!(matches!(log.append(&huge), Err(LogError::TooLarge { .. })));
    append_synced(&mut log, 1..=2);
    assert_eq!(held(&log).len(), 2);
}

#[test]
fn state_from_elsewhere_restarts_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    append_synced(&mut log, 1..=100);
    let upto = EntryId { index: 500, term: 7, node: 2 };
    log.purge(upto).unwrap();
    assert_eq!((log.reader().purged(), log.reader().last()), (upto, upto));
    append_synced(&mut log, 501..=502);
    drop(log);
    let log = open(dir.path()).unwrap();
    assert_eq!(log.reader().purged(), upto);
    assert_eq!(held(&log), entries(501..=502, 1));
}

#[test]
fn waiting_appends_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let log = Log::open(dir.path(), SEGMENT_BYTES * 16, disk.clone()).unwrap();
    let reader = log.reader();
    disk.sync_delay_ms.store(5, Ordering::SeqCst);
    let writer = LogWriter::spawn(log, VoteFile::new(dir.path().join("vote"))).unwrap();
    let (tx, rx) = std::sync::mpsc::channel();
    for index in 1..=100 {
        let tx = tx.clone();
        writer.append(entries(index..=index, 1), Box::new(move |result| tx.send((index, result)).unwrap()));
    }
    for index in 1..=100 {
        let (done, result) = rx.recv().unwrap();
        result.unwrap();
        assert_eq!(done, index);
    }
    assert!(writer.syncs() < 20, "{} syncs", writer.syncs());
    assert_eq!(reader.last().index, 100);
}

#[test]
fn failed_sync_reaches_everybody_who_waits() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let log = Log::open(dir.path(), SEGMENT_BYTES, disk.clone()).unwrap();
    let writer = LogWriter::spawn(log, VoteFile::new(dir.path().join("vote"))).unwrap();
    disk.sync_fails.store(true, Ordering::SeqCst);
    let (tx, rx) = std::sync::mpsc::channel();
    for index in 1..=10 {
        let tx = tx.clone();
        writer.append(entries(index..=index, 1), Box::new(move |result| tx.send(result).unwrap()));
    }
    for _ in 1..=10 {
        assert!(rx.recv().unwrap().is_err());
    }
}

#[test]
fn vote_survives_and_damage_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let vote = VoteFile::new(dir.path().join("vote"));
    assert_eq!(vote.load().unwrap(), None);
    vote.save(b"for one").unwrap();
    vote.save(b"for two").unwrap();
    assert_eq!(&vote.load().unwrap().unwrap()[..], b"for two");
    assert_eq!(std::fs::read(dir.path().join("vote")).unwrap(), GOLDEN_VOTE);
    std::fs::write(dir.path().join("vote"), &GOLDEN_VOTE[..20]).unwrap();
    assert!(matches!(vote.load(), Err(LogError::Damaged { .. })));
}

#[test]
fn golden_record() {
    let id = EntryId { index: 0x0102, term: 3, node: 4 };
    let record = Record { id, synced: 5, committed: 6, payload: Bytes::from_static(b"hello") };
    let mut bytes = Vec::new();
    record.encode(&mut bytes).unwrap();
    assert_eq!(bytes, GOLDEN_RECORD);
    assert_eq!(bytes.len(), record.size());
    assert_eq!(Record::decode(GOLDEN_RECORD).unwrap(), record);
    assert_eq!(RECORD_HEADER_BYTES, 56);
}

#[test]
fn golden_segment_header() {
    assert_eq!(segment::golden_header(), GOLDEN_HEADER);
    assert_eq!(HEADER_BYTES, 48);
}

const GOLDEN_VOTE: &[u8] = b"CAIRNVOT\x01\0\0\0\xcb\x54\x03\x41for two";
const GOLDEN_RECORD: &[u8] = b"CREC\x05\0\0\0\0\xa3\xb0\xeb\0\0\0\0\
    \x02\x01\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0hello\0\0\0";
const GOLDEN_HEADER: [u8; 48] = *b"CAIRNLOG\x01\0\0\0\0\0\0\0\
    \x02\x01\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x39\xe8\x16\xb9\0\0\0\0";
