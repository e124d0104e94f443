//! Drawing operations at random: few names, so that they meet; sizes around the boundaries that matter.

use nix::fcntl::OFlag;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::{HANDLES, Op};

const DIRS: [&str; 4] = ["", "d/", "e/", "d/f/"];
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const XATTRS: [&str; 4] = ["user.one", "user.two", "trusted.three", "nonsense"];
/// Block, piece and page boundaries, and a little either side.
const EDGES: [u64; 9] = [0, 1, 4095, 4096, 4097, 65_536, 131_072, 1 << 20, (1 << 20) + 4096];
/// Largest offset drawn otherwise.
const REACH: u64 = 3 << 20;

/// The next operation.
pub fn draw(rng: &mut StdRng) -> Op {
    match rng.random_range(0..100) {
        0..14 => open(rng),
        14..17 => Op::Close { slot: slot(rng) },
        17..27 => Op::Read { slot: slot(rng), offset: offset(rng), len: length(rng) },
        27..40 => Op::Write { slot: slot(rng), offset: offset(rng), len: length(rng), seed: rng.random() },
        40..44 => Op::WriteHere { slot: slot(rng), len: length(rng), seed: rng.random() },
        44..46 => Op::MapWrite { slot: slot(rng), offset: offset(rng), len: length(rng), seed: rng.random() },
        46..50 => Op::Ftruncate { slot: slot(rng), len: offset(rng) },
        50..54 => fallocate(rng),
        54..56 => Op::CopyRange {
            from: slot(rng),
            to: slot(rng),
            from_offset: offset(rng),
            to_offset: offset(rng),
            len: length(rng),
        },
        56..57 => Op::Fsync { slot: slot(rng) },
        57..60 => Op::Fstat { slot: slot(rng) },
        60..62 => Op::Truncate { path: path(rng), len: offset(rng) },
        62..66 => Op::Mkdir { path: path(rng), mode: mode(rng) },
        66..68 => Op::Rmdir { path: path(rng) },
        68..72 => Op::Unlink { path: path(rng) },
        72..77 => Op::Rename { from: path(rng), to: path(rng), flags: *[0, 0, 0, 1, 2].choose(rng).unwrap_or(&0) },
        77..79 => Op::Link { from: path(rng), to: path(rng) },
        79..81 => Op::Symlink { target: path(rng), path: path(rng) },
        81..82 => Op::ReadLink { path: path(rng) },
        82..83 => Op::Mkfifo { path: path(rng), mode: mode(rng) },
        83..85 => Op::ReadDir { path: path(rng) },
        85..87 => Op::Stat { path: path(rng) },
        87..89 => Op::Lstat { path: path(rng) },
        89..91 => Op::Chmod { path: path(rng), mode: mode(rng) },
        91..93 => Op::Chown { path: path(rng), uid: id(rng), gid: id(rng) },
        93..95 => Op::Utimens { path: path(rng), atime: time(rng), mtime: time(rng) },
        95..97 => Op::SetXattr {
            path: path(rng),
            name: xattr(rng),
            // All of them fit into the one block that ext4 has for them.
            len: rng.random_range(0..900),
            seed: rng.random(),
            flags: rng.random_range(0..3),
        },
        97..98 => Op::GetXattr { path: path(rng), name: xattr(rng) },
        98..99 => Op::ListXattr { path: path(rng) },
        _ => Op::RemoveXattr { path: path(rng), name: xattr(rng) },
    }
}

fn open(rng: &mut StdRng) -> Op {
    let mut flags =
        *[OFlag::O_RDONLY, OFlag::O_WRONLY, OFlag::O_RDWR, OFlag::O_RDWR].choose(rng).unwrap_or(&OFlag::O_RDWR);
    for (flag, percent) in [
        (OFlag::O_CREAT, 60),
        (OFlag::O_EXCL, 10),
        (OFlag::O_TRUNC, 15),
        (OFlag::O_APPEND, 20),
        (OFlag::O_SYNC, 5),
        (OFlag::O_NOFOLLOW, 10),
        (OFlag::O_DIRECTORY, 3),
    ] {
        if rng.random_range(0..100) < percent {
            flags |= flag;
        }
    }
    // A fifo would block the test, not answer it.
    flags |= OFlag::O_NONBLOCK;
    Op::Open { slot: slot(rng), path: path(rng), flags, mode: mode(rng) }
}

fn fallocate(rng: &mut StdRng) -> Op {
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    let modes =
        [0, keep, keep | libc::FALLOC_FL_PUNCH_HOLE, libc::FALLOC_FL_ZERO_RANGE, keep | libc::FALLOC_FL_ZERO_RANGE];
    let mode = *modes.choose(rng).unwrap_or(&0);
    Op::Fallocate { slot: slot(rng), mode, offset: offset(rng), len: length(rng) as u64 }
}

fn slot(rng: &mut StdRng) -> usize {
    rng.random_range(0..HANDLES)
}

fn path(rng: &mut StdRng) -> String {
    let dir = DIRS.choose(rng).unwrap_or(&"");
    let name = NAMES.choose(rng).unwrap_or(&"a");
    format!("{dir}{name}")
}

fn xattr(rng: &mut StdRng) -> String {
    (*XATTRS.choose(rng).unwrap_or(&"user.one")).to_owned()
}

fn mode(rng: &mut StdRng) -> u32 {
    *[0o644, 0o755, 0o600, 0o4755, 0o2755, 0o1777, 0o000, 0o666].choose(rng).unwrap_or(&0o644)
}

fn id(rng: &mut StdRng) -> Option<u32> {
    *[None, Some(0), Some(1), Some(65_534)].choose(rng).unwrap_or(&None)
}

fn time(rng: &mut StdRng) -> Option<(i64, i64)> {
    rng.random_bool(0.7).then(|| (rng.random_range(0..2_000_000_000), rng.random_range(0..1_000_000_000)))
}

fn offset(rng: &mut StdRng) -> u64 {
    if rng.random_bool(0.5) { *EDGES.choose(rng).unwrap_or(&0) } else { rng.random_range(0..REACH) }
}

fn length(rng: &mut StdRng) -> usize {
    match rng.random_range(0..10) {
        0..5 => rng.random_range(0..5_000),
        5..8 => *EDGES.choose(rng).unwrap_or(&1) as usize,
        _ => rng.random_range(0..300_000),
    }
}
