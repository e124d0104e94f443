//! Nothing is lost while everything happens: see [`cairn_tests::chaos`].
//!
//! `CAIRN_CHAOS_SECONDS` (default 60) is how long it happens; `CAIRN_SEED` makes the same happen again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_tests::chaos::faults::{Storm, settle};
use cairn_tests::chaos::load::Load;
use cairn_tests::chaos::verdict;
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::pattern;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const CHUNKSERVERS: usize = 5;
const COPIES: u8 = 3;
const WORKERS: usize = 4;
/// Of a chunkserver's disk: the load takes a part of it.
const DISK: u64 = 256 << 20;
const RESERVE: u64 = 16 << 20;
/// A chunkserver is dead after so many milliseconds of silence.
const DEAD_AFTER_MS: u64 = 4_000;
/// The longest time that a server is away: dead by then, and its chunks are being repaired.
const LONGEST: Duration = Duration::from_secs(7);
/// How long workers may take to end when all faults are over.
const END: Duration = Duration::from_secs(90);

fn time() -> Duration {
    let text = std::env::var("CAIRN_CHAOS_SECONDS");
    Duration::from_secs(text.map_or(60, |text| text.parse().expect("a number of seconds")))
}

fn options() -> Options {
    let dead_after = format!("dead_after_ms={DEAD_AFTER_MS}");
    let args = ["suspect_after_ms=1500", &dead_after, "reconcile_after_s=2"];
    let set = |args: &[&str]| args.iter().flat_map(|arg| ["--set".to_owned(), (*arg).to_owned()]).collect();
    Options {
        chunkservers: CHUNKSERVERS,
        copies: COPIES,
        meta_args: set(&args),
        chunk_args: set(&[&format!("reserve_bytes={RESERVE}")]),
        chunk_disk: Some(DISK),
        network: true,
        chunk_hosts: true,
        on_disk: true,
        limit: Options::default().limit + time(),
        ..Options::default()
    }
}

#[test]
fn nothing_is_lost_in_chaos() -> Result<()> {
    let seed = pattern::seed("chaos");
    let mut cluster = Cluster::with(options())?;
    let survived = survive(&mut cluster, seed, time());
    if survived.is_err() {
        println!("the cluster's logs and files are kept in {}", cluster.keep().display());
    }
    survived.with_context(|| format!("seed {seed}"))
}

/// Whoever was in the midst of something when the metaserver went away goes on when it is back, on both mounts.
#[test]
fn nobody_is_left_waiting_after_restarts_of_the_metaserver() -> Result<()> {
    let seed = pattern::seed("restarts");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start()?;
    let local = tempfile::tempdir()?;
    let mounts = [cluster.mount()?, cluster.mount()?];
    let mut load = Load::start(WORKERS, mounts.each_ref(), local.path(), seed)?;
    let (began, mut restarts) = (Instant::now(), 0);
    while began.elapsed() < time() / 2 {
        std::thread::sleep(Duration::from_millis(rng.random_range(50..600)));
        cluster.kill_meta()?;
        // Long enough for all workers to have something under way.
        std::thread::sleep(Duration::from_millis(rng.random_range(0..300)));
        cluster.start_meta()?;
        restarts += 1;
        load.check().with_context(|| format!("seed {seed}, restart {restarts}"))?;
        load.wait_for_calls(END).with_context(|| format!("seed {seed}, restart {restarts}"))?;
    }
    println!("{restarts} restarts in {:.0?}", began.elapsed());
    let claims = load.finish(END)?;
    mounts.iter().try_for_each(|mount| verdict::check(&claims, mount))?;
    mounts.into_iter().try_for_each(|mount| mount.unmount())
}

fn survive(cluster: &mut Cluster, seed: u64, time: Duration) -> Result<()> {
    let local = tempfile::tempdir()?;
    let mounts = [cluster.mount()?, cluster.mount()?];
    let mut load = Load::start(WORKERS, mounts.each_ref(), local.path(), seed)?;
    let began = Instant::now();
    let mut storm = Storm::new(cluster, StdRng::seed_from_u64(seed), LONGEST);
    let mut faults = 0;
    while began.elapsed() < time {
        let fault = storm.draw();
        storm.strike(fault)?;
        load.check().with_context(|| format!("in or after {fault:?}"))?;
        faults += 1;
    }
    let claims = load.finish(END)?;
    println!("{faults} faults in {:.0?}", began.elapsed());
    for mount in &mounts {
        verdict::check(&claims, mount)?;
    }
    mounts.into_iter().try_for_each(|mount| mount.unmount())?;
    settle(cluster)?;
    let fresh = cluster.mount()?;
    verdict::check(&claims, &fresh).context("from a fresh mount")?;
    fresh.unmount()?;
    verdict::check_logs(cluster)?;
    let files: usize = claims.iter().map(|claim| claim.ledger.0.len()).sum();
    ensure!(files > 0, "the workers made no files");
    Ok(())
}
