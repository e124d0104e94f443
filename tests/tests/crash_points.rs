//! Whoever takes part in a write dies at each named point of it: the program that writes does not notice, or loses nothing that was synced, and
//! the copies become identical again.
//!
//! The points stand in `src/failpoint.rs` of the chunkserver and of the client, with what must hold after each.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::{Cluster, Faults, Options};
use cairn_tests::journal::{Names, Writer};
use cairn_tests::locker::Locker;
use cairn_tests::{binaries, pattern, run};

/// For the victim to come by its point while programs write.
const WHILE_WRITING: Duration = Duration::from_secs(6);
/// And afterwards, when files are left alone and handed back.
const AFTERWARDS: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_secs(90);

/// The points of a crate.
fn points(crate_dir: &str) -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(crate_dir).join("src/failpoint.rs");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let name = |line: &str| line.strip_prefix("pub const ")?.split('"').nth(1).map(str::to_owned);
    let points: Vec<String> = text.lines().filter_map(name).collect();
    ensure!(points.len() >= 5, "only {points:?} were found in {}: has it another form now?", path.display());
    Ok(points)
}

fn dies_at(point: &str, time: u32) -> Result<Faults> {
    Ok(Faults { binary: binaries::cairn_faulty()?, env: vec![("CAIRN_CRASH_POINT", format!("{point}:{time}"))] })
}

fn cluster() -> Result<Cluster> {
    let mut options = Options::quick_detection();
    options.meta_args.extend(["--set".to_owned(), "session_term_s=3".to_owned()]);
    Cluster::with(options)
}

#[test]
fn a_chunkserver_that_dies_in_the_midst_of_a_write_is_not_noticed() -> Result<()> {
    let mut cluster = cluster()?;
    for (n, point) in points("chunkserver")?.iter().enumerate() {
        for role in ["head", "tail"] {
            // Nobody is behind the tail.
            if (point.as_str(), role) != ("chunk-before-forward", "tail") {
                die_while_written_to(&mut cluster, &format!("{role}{n}"), point, role)
                    .with_context(|| format!("the {role} of a chain died at {point}"))?;
            }
        }
    }
    cluster.assert_fsck_clean()
}

/// Has the head or the tail of the chain of a clean chunk die when that is written to, or when other files are.
fn die_while_written_to(cluster: &mut Cluster, dir: &str, point: &str, role: &str) -> Result<()> {
    let mount = cluster.mount()?;
    std::fs::create_dir(mount.join(dir))?;
    std::fs::write(mount.join(dir).join("clean"), "a".repeat(20_000))?;
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    let holders = cluster.holders(&format!("/{dir}/clean"))?.pop().context("it has a chunk")?;
    let victim = if role == "head" { holders.first() } else { holders.last() };
    let victim = *victim.context("it has copies")?;
    cluster.stop_chunkserver(victim)?;
    cluster.start_chunkserver_with(victim, Some(&dies_at(point, 1)?))?;
    cluster.wait_healthy()?;

    // One that has not known it at another address.
    let mount = cluster.mount()?;
    let dir = mount.join(dir);
    let mut program = Locker::start(&dir)?;
    let writer = Writer::start(&dir.join("w"), 7, Names::AsReturned)?;
    program.expect("open clean", "ok")?;
    program.expect(&format!("write 0 5000 {}", "b".repeat(5_000)), "ok")?;
    program.expect("fsync 0", "ok")?;
    let end = Instant::now() + WHILE_WRITING;
    while !cluster.chunkserver_has_ended(victim) && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    let journal = writer.finish()?;
    drop(program);
    run::wait_until("the victim has died", AFTERWARDS, || Ok(cluster.chunkserver_has_ended(victim)))?;
    cluster.start_chunkserver(victim)?;
    cluster.wait_healthy()?;
    journal.check()?;
    let want = ["a".repeat(5_000), "b".repeat(5_000), "a".repeat(10_000)].concat();
    ensure!(std::fs::read(dir.join("clean"))? == want.into_bytes(), "overwritten bytes are others now");
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean()
}

#[test]
fn a_client_that_dies_in_the_midst_of_a_write_leaves_copies_that_converge() -> Result<()> {
    let seed = pattern::seed("client_points");
    let mut cluster = cluster()?;
    for (n, point) in points("fs-client")?.iter().enumerate() {
        // Not the first time: something is to be there that was synced.
        let time = if point.ends_with("replace") || point.ends_with("hand-back") { 1 } else { 8 };
        write_and_die(&mut cluster, &format!("c{n}"), point, time, seed)
            .with_context(|| format!("the client died at {point}, seed {seed}"))?;
    }
    cluster.assert_fsck_clean()
}

fn write_and_die(cluster: &mut Cluster, dir: &str, point: &str, time: u32, seed: u64) -> Result<()> {
    let mount = cluster.mount_faulty(&dies_at(point, time)?)?;
    let writer = Writer::start(&mount.join(dir), seed, Names::Synced)?;
    let failing = point.ends_with("replace").then_some(0);
    if let Some(server) = failing {
        thread::sleep(Duration::from_secs(1));
        cluster.kill_chunkserver(server)?;
    }
    thread::sleep(WHILE_WRITING / 3);
    let journal = writer.interrupted()?;
    mount.dies(AFTERWARDS)?;
    if let Some(server) = failing {
        cluster.start_chunkserver(server)?;
        cluster.wait_healthy()?;
    }
    let mount = cluster.mount()?;
    let journal = journal.at(&mount.join(dir));
    ensure!(!journal.records.is_empty(), "it died before anything was synced");
    journal.check()?;
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean()
}
