//! Chunkservers whose power is cut: what was not synced is gone from their disks, and their kernels have booted anew
//! (`runtime/src/faults.rs`). An `fsync` that returned 0 has not lied.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::{Cluster, Faults, Options};
use cairn_tests::journal::{Names, Writer};
use cairn_tests::locker::Locker;
use cairn_tests::mount::Mount;
use cairn_tests::{binaries, pattern, run};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const MIB: usize = 1 << 20;
/// What the tests write without a sync, MiB.
const WRITTEN: usize = 4;
const SETTLE: Duration = Duration::from_secs(120);

fn cluster() -> Result<Cluster> {
    let chunk_faults =
        Some(Faults { binary: binaries::cairn_faulty()?, env: vec![("CAIRN_FAULTS", "power-cuts".into())] });
    Cluster::with(Options { chunk_faults, on_disk: true, ..Options::quick_detection() })
}

fn cut_power(cluster: &mut Cluster, servers: &[usize]) -> Result<()> {
    servers.iter().try_for_each(|server| cluster.kill_chunkserver(*server))?;
    servers.iter().try_for_each(|server| cluster.start_chunkserver(*server))?;
    cluster.wait_healthy()
}

fn letter(n: usize) -> String {
    char::from(b'a' + n as u8).to_string()
}

/// Writes all of the open file anew, and returns when chunkservers have acknowledged that, and nothing of it is synced.
fn write_unsynced(cluster: &Cluster, program: &mut Locker, first: usize) -> Result<()> {
    let mtime = || Ok::<_, anyhow::Error>(cluster.cairn_json(&["info", "/f"])?["mtime"].clone());
    let before = mtime()?;
    for n in 0..WRITTEN {
        program.expect(&format!("write 0 {} {}", n * MIB, letter(first + n).repeat(MIB)), "ok")?;
    }
    run::wait_until("all of it is acknowledged", Duration::from_secs(20), || {
        let info = cluster.cairn_json(&["info", "/f"])?;
        Ok(info["size"] == WRITTEN * MIB && info["mtime"] != before)
    })
}

/// A program that has written a file of which nothing was ever synced.
fn never_synced(cluster: &Cluster, mount: &Mount) -> Result<Locker> {
    let mut program = Locker::start(mount.path())?;
    program.expect("open f", "ok")?;
    program.expect("write 0 0 z", "ok")?;
    write_unsynced(cluster, &mut program, 0)?;
    Ok(program)
}

/// What [`write_unsynced`] has written first, and an `fsync` has said is there.
fn has_what_was_written(mount: &Mount) -> Result<()> {
    let want: String = (0..WRITTEN).map(|n| letter(n).repeat(MIB)).collect();
    ensure!(std::fs::read(mount.join("f"))? == want.into_bytes(), "fsync has lied");
    Ok(())
}

/// Overwrites synced bytes and does not sync; cuts the power of so many of the servers that have them; syncs; cuts the power of all. Where the
/// sync has said that all is well, it is.
fn overwritten_cut_synced_cut(copies_cut: usize) -> Result<()> {
    let mut cluster = cluster()?;
    let mount = cluster.mount()?;
    let mut program = Locker::start(mount.path())?;
    program.expect("open f", "ok")?;
    program.expect(&format!("write 0 0 {}", "z".repeat(WRITTEN * MIB)), "ok")?;
    program.expect("fsync 0", "ok")?;
    write_unsynced(&cluster, &mut program, 0)?;
    let holders = cluster.holders("/f")?.pop().context("it has a chunk")?;
    cut_power(&mut cluster, &holders[..copies_cut])?;
    program.begin("fsync 0")?;
    let synced = program.answer_within(SETTLE).context("fsync did not return")?;
    ensure!(synced == "ok" || synced == "EIO", "fsync: {synced}");
    ensure!(synced == "ok" || copies_cut > 1, "another copy had the bytes, and fsync gave up");
    let log = mount.daemon().log()?;
    let notices = ["restarted before acknowledged bytes were synced", "going on without it"];
    ensure!(notices.iter().any(|notice| log.contains(notice)), "nobody noticed what was lost:\n{log}");
    drop(program);
    mount.unmount()?;
    cut_power(&mut cluster, &[0, 1, 2])?;
    let mount = cluster.mount()?;
    if synced == "ok" {
        has_what_was_written(&mount)?;
    }
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean()
}

#[test]
fn fsync_makes_good_what_one_copy_has_lost() -> Result<()> {
    overwritten_cut_synced_cut(1)
}

#[test]
fn fsync_makes_good_what_all_copies_have_lost_or_fails() -> Result<()> {
    overwritten_cut_synced_cut(2)
}

/// No copy is left of a chunk that was never synced. The mount has all of it still.
#[test]
fn fsync_makes_good_what_no_copy_is_left_of() -> Result<()> {
    let mut cluster = cluster()?;
    let mount = cluster.mount()?;
    let mut program = never_synced(&cluster, &mount)?;
    cut_power(&mut cluster, &[0, 1, 2])?;
    program.begin("fsync 0")?;
    ensure!(program.answer_within(SETTLE).context("fsync did not return")? == "ok", "fsync failed");
    drop(program);
    mount.unmount()?;
    cut_power(&mut cluster, &[0, 1, 2])?;
    let mount = cluster.mount()?;
    has_what_was_written(&mount)?;
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean()
}

/// Nor is the mount that wrote it. Others are told, and may begin anew.
#[test]
fn what_is_lost_for_good_is_an_error_until_the_file_is_truncated() -> Result<()> {
    let mut cluster = cluster()?;
    let first = cluster.mount()?;
    let program = never_synced(&cluster, &first)?;
    first.kill()?;
    drop(program);
    cut_power(&mut cluster, &[0, 1, 2])?;
    let mount = cluster.mount()?;
    let mut program = Locker::start(mount.path())?;
    program.expect("open f", "ok")?;
    program.expect("write 0 100 y", "ok")?;
    program.begin("fsync 0")?;
    let synced = program.answer_within(SETTLE).context("fsync did not return")?;
    ensure!(synced == "EIO", "fsync: {synced}");
    drop(program);
    std::fs::write(mount.join("f"), "anew")?;
    std::fs::File::open(mount.join("f"))?.sync_all()?;
    cut_power(&mut cluster, &[0, 1, 2])?;
    ensure!(std::fs::read(mount.join("f"))? == b"anew", "it is not what was written after it was truncated");
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean()
}

#[test]
fn what_was_synced_is_there_after_any_power_cut() -> Result<()> {
    let seed = pattern::seed("power_cuts");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = cluster()?;
    let mount = cluster.mount()?;
    let start = |n| Writer::start(&mount.join(&format!("w{n}")), seed.wrapping_add(n), Names::AsReturned);
    let writers = (0..3).map(start).collect::<Result<Vec<_>>>()?;
    for round in 0..8 {
        thread::sleep(Duration::from_millis(rng.random_range(300..1_500)));
        let servers = if round % 2 == 0 { vec![0, 1, 2] } else { vec![rng.random_range(0..3)] };
        cut_power(&mut cluster, &servers)?;
    }
    let journals =
        writers.into_iter().map(Writer::finish).collect::<Result<Vec<_>>>().with_context(|| format!("seed {seed}"))?;
    let synced: usize = journals.iter().map(|journal| journal.records.len()).sum();
    ensure!(synced > 50, "the load hardly ran: {synced} steps");
    mount.unmount()?;
    cut_power(&mut cluster, &[0, 1, 2])?;
    let mount = cluster.mount()?;
    for (n, journal) in journals.into_iter().enumerate() {
        journal.at(&mount.join(&format!("w{n}"))).check().with_context(|| format!("seed {seed}"))?;
    }
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean().with_context(|| format!("seed {seed}"))
}
