//! The scrub: what rots on the disks is found without a reader, and made good from the other copies.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::copies::{self, CopyFile};
use cairn_tests::{pattern, run};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const SETTLE: Duration = Duration::from_secs(120);
const BLOCK: u64 = 4096;

/// Names and contents.
type Files = Vec<(String, Vec<u8>)>;

fn options(chunkservers: usize, scrub_period_s: u64) -> Options {
    let args = ["suspect_after_ms=1500", "dead_after_ms=4000"];
    Options {
        chunkservers,
        meta_args: args.iter().flat_map(|arg| ["--set".to_owned(), (*arg).to_owned()]).collect(),
        chunk_args: vec!["--set".to_owned(), format!("scrub_period_s={scrub_period_s}")],
        ..Options::default()
    }
}

/// A cluster with files that nobody has open.
fn at_rest(options: Options, files: &Files) -> Result<Cluster> {
    let cluster = Cluster::with(options)?;
    let mount = cluster.mount()?;
    for (name, bytes) in files {
        let mut file = File::create(mount.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    Ok(cluster)
}

fn assert_files(dir: &Path, files: &Files) -> Result<()> {
    for (name, bytes) in files {
        ensure!(std::fs::read(dir.join(name))? == *bytes, "{name} differs");
    }
    Ok(())
}

fn all_copies(cluster: &Cluster, files: &Files) -> Result<Vec<CopyFile>> {
    let each = files.iter().map(|(name, _)| copies::of(cluster, &format!("/{name}")));
    Ok(each.collect::<Result<Vec<_>>>()?.concat())
}

/// The sum over all servers of a number in `cairn scrub status`.
fn scrubbed(cluster: &Cluster, pointer: &str) -> Result<u64> {
    let status = cluster.cairn_json(&["scrub", "status"])?;
    let servers = status.as_array().context("a list of servers")?;
    Ok(servers.iter().filter_map(|server| server.pointer(pointer)?.as_u64()).sum())
}

fn wait_for_clean_fsck(cluster: &Cluster) -> Result<()> {
    run::wait_until("fsck finds nothing", SETTLE, || Ok(cluster.cairn(&["fsck", "--data"])?.status.success()))
}

#[test]
fn a_scrub_finds_and_repairs_a_hundred_of_a_hundred_flipped_bits() -> Result<()> {
    let seed = pattern::seed("scrub");
    let mut rng = StdRng::seed_from_u64(seed);
    let files: Files = (0..12).map(|n| (format!("f{n}"), pattern::bytes(n, 200_000 + 300_000 * n as usize))).collect();
    let cluster = at_rest(options(3, 0), &files)?;
    let copies = all_copies(&cluster, &files)?;
    // No block in both copies of its chunk: there is a good one of each.
    let mut struck = HashSet::new();
    while struck.len() < 100 {
        let copy = copies.choose(&mut rng).context("there are copies")?;
        let offset = rng.random_range(0..copy.length);
        if struck.insert((copy.handle, offset / BLOCK)) {
            copy.flip(offset)?;
        }
    }
    // A copy that is made anew in the middle of the pass would have nothing more to find in it.
    ensure!(cluster.cairn(&["repair", "pause"])?.status.success());
    let output = cluster.cairn(&["scrub", "start", "--wait"])?;
    let said = run::printed(&output);
    ensure!(output.status.code() == Some(1) && said.contains("damaged blocks"), "{said}");
    ensure!(scrubbed(&cluster, "/scrub/last/damaged")? == 100, "seed {seed}: {said}");
    let everything: u64 = copies.iter().map(|copy| copy.length.next_multiple_of(BLOCK)).sum();
    ensure!(scrubbed(&cluster, "/scrub/last/verified")? == everything, "it has not read everything");
    ensure!(cluster.cairn(&["repair", "resume"])?.status.success());
    wait_for_clean_fsck(&cluster).with_context(|| format!("seed {seed}"))?;
    let status = cluster.cairn_json(&["status"])?;
    let damaged: u64 = status["servers"].as_array().into_iter().flatten().filter_map(|s| s["damaged"].as_u64()).sum();
    ensure!(damaged >= 100 && status["chunks"]["damaged"] == 0, "{status}");
    // From the disks, not only as readers see it; and found once more there is nothing.
    for (name, bytes) in &files {
        for copy in copies::of(&cluster, &format!("/{name}"))? {
            ensure!(copy.bytes()? == *bytes, "seed {seed}: {copy:?} differs");
        }
    }
    let output = cluster.cairn(&["scrub", "start", "--wait"])?;
    ensure!(output.status.success(), "{}", run::printed(&output));
    let mount = cluster.mount()?;
    assert_files(mount.path(), &files)?;
    mount.unmount()
}

#[test]
fn a_scrub_needs_no_command_and_goes_on_after_a_restart() -> Result<()> {
    let files: Files = (0..3).map(|n| (format!("f{n}"), pattern::bytes(n, 3 << 20))).collect();
    let mut cluster = at_rest(options(2, 3), &files)?;
    let copies = all_copies(&cluster, &files)?;
    let before = scrubbed(&cluster, "/scrub/damaged")?;
    copies[0].flip(1_000_000)?;
    run::wait_until("the damage is found", SETTLE, || Ok(scrubbed(&cluster, "/scrub/damaged")? > before))?;
    wait_for_clean_fsck(&cluster)?;
    let server = copies[0].server;
    let log = std::fs::read_to_string(cluster.log(&format!("chunk{server}")))?;
    ensure!(log.lines().filter(|line| line.contains("a block is damaged on disk")).count() == 1, "{log}");
    // What it has found and done is known after a restart, and so is what it has to do.
    cluster.stop_chunkserver(server)?;
    cluster.start_chunkserver(server)?;
    cluster.wait_healthy()?;
    run::wait_until("it remembers", SETTLE, || {
        let scrub = &cluster.server_status(server)?["scrub"];
        Ok(scrub["damaged"].as_u64() >= Some(1) && scrub["last"]["verified"].as_u64() > Some(0))
    })?;
    copies[0].flip(2_000_000)?;
    let before = scrubbed(&cluster, "/scrub/damaged")?;
    run::wait_until("the damage is found", SETTLE, || Ok(scrubbed(&cluster, "/scrub/damaged")? > before))?;
    wait_for_clean_fsck(&cluster)
}

#[test]
fn what_is_damaged_in_every_copy_is_named_and_all_else_made_good() -> Result<()> {
    let files: Files = vec![("f".to_owned(), pattern::bytes(1, 4 << 20))];
    let cluster = at_rest(options(2, 0), &files)?;
    let copies = all_copies(&cluster, &files)?;
    ensure!(copies.len() == 2, "{copies:?}");
    copies.iter().try_for_each(|copy| copy.flip(10 * BLOCK + 5))?;
    copies[0].flip(600 * BLOCK)?;
    copies[1].flip(700 * BLOCK)?;
    let output = cluster.cairn(&["scrub", "start", "--wait"])?;
    ensure!(output.status.code() == Some(1), "{}", run::printed(&output));
    run::wait_until("it is known to be lost", SETTLE, || {
        Ok(cluster.cairn_json(&["status"])?["chunks"]["damaged"].as_u64() == Some(1))
    })?;
    let said = run::printed(&cluster.cairn(&["status"])?);
    ensure!(said.contains("1 chunks have damaged copies"), "{said}");
    let output = cluster.cairn(&["fsck", "--data"])?;
    let said = run::printed(&output);
    ensure!(output.status.code() == Some(1) && said.matches("1 blocks of").count() == 2, "the others are good: {said}");
    let mount = cluster.mount()?;
    ensure!(std::fs::read(mount.join("f")).is_err(), "what is lost is never made up");
    let file = File::open(mount.join("f"))?;
    let mut rest = vec![0; 2 << 20];
    file.read_exact_at(&mut rest, 2 << 20)?;
    ensure!(rest == files[0].1[2 << 20..], "what is good is read");
    drop(file);
    // Written anew, it is good.
    std::fs::write(mount.join("f"), &files[0].1)?;
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    wait_for_clean_fsck(&cluster)
}

#[test]
fn a_scrub_is_shown_and_mistakes_are_answered_in_one_line() -> Result<()> {
    let files: Files = (0..2).map(|n| (format!("f{n}"), pattern::bytes(n, 8 << 20))).collect();
    let mut cluster = at_rest(options(2, 0), &files)?;
    let output = cluster.cairn(&["scrub", "start", "chunk0", "--rate", "1MiB"])?;
    let said = run::printed(&output);
    ensure!(output.status.success() && said.contains("chunk0 reads and verifies all its copies at 1 MiB/s"), "{said}");
    run::wait_until("it is under way", SETTLE, || {
        let scrub = &cluster.server_status(0)?["scrub"];
        let pass = &scrub["pass"];
        let is_slow = pass["rate"].as_u64().is_some_and(|rate| rate <= 2 << 20);
        Ok(pass["ordered"] == true && pass["verified"].as_u64() > Some(0) && is_slow)
    })?;
    let said = run::printed(&cluster.cairn(&["scrub", "status"])?);
    ensure!(said.contains("at once") && said.contains("LAST FULL PASS"), "{said}");
    let said = run::printed(&cluster.cairn(&["status"])?);
    ensure!(said.contains("1 passes under way"), "{said}");
    cluster.kill_chunkserver(1)?;
    for (args, code, reason) in [
        (&["scrub", "start", "nobody"][..], 1, "no chunkserver is called nobody"),
        (&["scrub", "start", "chunk1"], 1, "chunk1 does not answer"),
    ] {
        let output = cluster.cairn(args)?;
        let said = run::printed(&output);
        ensure!(output.status.code() == Some(code) && said.contains(reason), "{args:?}: {said}");
        ensure!(said.lines().count() == 1, "{args:?}: one line: {said}");
    }
    let output = cluster.cairn(&["scrub", "start", "--rate", "0"])?;
    ensure!(output.status.code() == Some(2), "{}", run::printed(&output));
    Ok(())
}
