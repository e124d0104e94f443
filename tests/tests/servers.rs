//! What operators do with chunkservers, and where copies go: failure domains, labels, drain, maintenance, repair that is paused.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::journal::{Names, Writer};
use cairn_tests::{pattern, run};

const SETTLE: Duration = Duration::from_secs(120);

/// Names and contents.
type Files = Vec<(String, Vec<u8>)>;

/// After so many milliseconds of silence a server is dead.
const DEAD_AFTER_MS: u64 = 3000;

/// A cluster in which a server is given up after seconds.
fn quick(chunkservers: usize, copies: u8) -> Options {
    let dead_after = format!("dead_after_ms={DEAD_AFTER_MS}");
    let args = ["suspect_after_ms=1000", &dead_after, "reconcile_after_s=2"];
    let meta_args = args.iter().flat_map(|arg| ["--set".to_owned(), (*arg).to_owned()]).collect();
    Options { chunkservers, copies, meta_args, ..Options::default() }
}

/// Four chunkservers in two racks; the second rack has the better disks.
fn two_racks(copies: u8) -> Options {
    let labels = vec![
        vec!["rack=r1", "class=hdd"],
        vec!["rack=r1", "class=hdd"],
        vec!["rack=r2", "class=ssd"],
        vec!["rack=r2", "class=ssd"],
    ];
    Options { labels, ..quick(4, copies) }
}

fn rack(server: usize) -> usize {
    server / 2
}

/// Writes and syncs files of one chunk each; answers what is in them.
fn write_files(dir: &Path, count: u64) -> Result<Files> {
    std::fs::create_dir_all(dir)?;
    let files: Vec<_> = (0..count).map(|n| (format!("f{n}"), pattern::bytes(n, 50_000 + n as usize))).collect();
    for (name, bytes) in &files {
        let mut file = File::create(dir.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    Ok(files)
}

fn assert_files(dir: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    for (name, bytes) in files {
        ensure!(std::fs::read(dir.join(name))? == *bytes, "{name} differs");
    }
    Ok(())
}

fn holders_of(cluster: &Cluster, dir: &str, files: &[(String, Vec<u8>)]) -> Result<Vec<Vec<usize>>> {
    let chunks = files.iter().map(|(name, _)| cluster.holders(&format!("{dir}/{name}")));
    Ok(chunks.collect::<Result<Vec<_>>>()?.concat())
}

/// Three chunkservers, and files of two copies that nobody writes to: a writer would go on without a server that it misses.
fn at_rest() -> Result<(Cluster, Files)> {
    let cluster = Cluster::with(quick(3, 2))?;
    let mount = cluster.mount()?;
    let files = write_files(&mount.join("d"), 20)?;
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    Ok((cluster, files))
}

/// Runs a command that must succeed.
fn cairn(cluster: &Cluster, args: &[&str]) -> Result<String> {
    let output = cluster.cairn(args)?;
    ensure!(output.status.success(), "cairn {args:?}: {}", run::printed(&output));
    Ok(run::printed(&output))
}

#[test]
fn copies_are_in_different_racks() -> Result<()> {
    let cluster = Cluster::with(two_racks(2))?;
    let mount = cluster.mount()?;
    let files = write_files(&mount.join("d"), 30)?;
    for holders in holders_of(&cluster, "/d", &files)? {
        let racks: HashSet<_> = holders.iter().map(|&server| rack(server)).collect();
        ensure!(holders.len() == 2 && racks.len() == 2, "{holders:?}");
    }
    mount.unmount()
}

#[test]
fn a_policy_says_where_copies_are_and_what_is_there_moves() -> Result<()> {
    let cluster = Cluster::with(two_racks(2))?;
    let mount = cluster.mount()?;
    let files = write_files(&mount.join("d"), 10)?;
    let said = cairn(&cluster, &["policy", "set", "/d", "--on", "class=ssd", "--recursive"])?;
    ensure!(said.contains("on class=ssd"), "{said}");
    let new = write_files(&mount.join("d/new"), 5)?;
    for holders in holders_of(&cluster, "/d/new", &new)? {
        ensure!(holders.iter().all(|&server| rack(server) == 1), "{holders:?}");
    }
    run::wait_until("all copies on the better disks", SETTLE, || {
        Ok(holders_of(&cluster, "/d", &files)?.concat().into_iter().all(|server| rack(server) == 1))
    })?;
    cluster.wait_settled(SETTLE)?;
    run::wait_until("nothing is misplaced", SETTLE, || {
        Ok(cluster.cairn_json(&["status"])?["chunks"]["misplaced"] == 0)
    })?;
    assert_files(&mount.join("d"), &files)?;
    mount.unmount()?;
    cluster.assert_fsck_clean()
}

#[test]
fn what_the_servers_cannot_give_is_refused_unless_it_is_loose() -> Result<()> {
    let cluster = Cluster::with(two_racks(2))?;
    for (args, reason) in [
        (&["--copies", "3", "--spread", "rack"][..], "there are 2"),
        (&["--copies", "5"], "need 5 hosts"),
        (&["--on", "class=tape"], "no chunkserver has the labels class=tape"),
        (&["--copies", "3", "--on", "class=ssd"], "there are 2"),
    ] {
        let output = cluster.cairn(&[&["policy", "set", "/"], args].concat())?;
        let said = run::printed(&output);
        ensure!(output.status.code() == Some(1) && said.contains(reason) && said.contains("--loose"), "{said}");
        ensure!(said.lines().count() == 1, "one line: {said}");
    }
    let said = cairn(&cluster, &["policy", "set", "/", "--copies", "3", "--spread", "rack", "--loose"])?;
    ensure!(said.contains("as far as the servers allow"), "{said}");
    let mount = cluster.mount()?;
    let files = write_files(&mount.join("d"), 10)?;
    for holders in holders_of(&cluster, "/d", &files)? {
        let racks: HashSet<_> = holders.iter().map(|&server| rack(server)).collect();
        ensure!(holders.len() == 3 && racks.len() == 2, "{holders:?}");
    }
    mount.unmount()
}

#[test]
fn never_two_copies_on_one_host() -> Result<()> {
    let mut cluster = Cluster::with(Options { same_host: true, ..quick(2, 2) })?;
    let mount = cluster.mount()?;
    let files = write_files(&mount.join("d"), 5)?;
    for holders in holders_of(&cluster, "/d", &files)? {
        ensure!(holders.len() == 1, "{holders:?}");
    }
    run::wait_until("they are counted", SETTLE, || {
        Ok(cluster.cairn_json(&["status"])?["chunks"]["below_target"].as_u64() >= Some(5))
    })?;
    let other = cluster.add_chunkserver()?;
    cluster.wait_settled(SETTLE)?;
    for holders in holders_of(&cluster, "/d", &files)? {
        ensure!(holders.len() == 2 && holders.contains(&other), "{holders:?}");
    }
    mount.unmount()
}

#[test]
fn a_drain_under_load_moves_all_and_loses_nothing() -> Result<()> {
    let seed = pattern::seed("drain");
    let mut cluster = Cluster::with(quick(4, 2))?;
    let mount = cluster.mount()?;
    let files = write_files(&mount.join("d"), 40)?;
    let writer = Writer::start(&mount.join("w"), seed, Names::AsReturned)?;
    let said = cairn(&cluster, &["server", "drain", "chunk0", "--wait"])?;
    ensure!(said.contains("chunk0 is empty"), "{said}");
    let journal = writer.finish()?;
    journal.check()?;
    ensure!(holders_of(&cluster, "/d", &files)?.concat().into_iter().all(|server| server != 0));
    let refused = cluster.cairn(&["server", "remove", "chunk0"])?;
    ensure!(!refused.status.success() && run::printed(&refused).contains("is up"), "{}", run::printed(&refused));
    cluster.stop_chunkserver(0)?;
    cairn(&cluster, &["server", "remove", "chunk0"])?;
    ensure!(cluster.server_status(0).is_err(), "it is forgotten");
    cluster.wait_settled(SETTLE)?;
    assert_files(&mount.join("d"), &files)?;
    journal.check()?;
    mount.unmount()?;
    cluster.assert_fsck_clean()
}

#[test]
fn a_server_that_is_drained_no_more_stays() -> Result<()> {
    let cluster = Cluster::with(quick(2, 2))?;
    let mount = cluster.mount()?;
    let files = write_files(&mount.join("d"), 5)?;
    cairn(&cluster, &["server", "drain", "chunk1"])?;
    run::wait_until("its copies are to move", SETTLE, || {
        let status = cluster.server_status(1)?;
        ensure!(status["state"] == "draining" && status["to_move"].as_u64() >= Some(5), "{status}");
        Ok(true)
    })?;
    // There is nowhere to go: they stay, and there are two of each.
    assert_files(&mount.join("d"), &files)?;
    ensure!(holders_of(&cluster, "/d", &files)?.iter().all(|holders| holders.len() == 2));
    cairn(&cluster, &["server", "resume", "chunk1"])?;
    run::wait_until("none is to move", SETTLE, || {
        let status = cluster.server_status(1)?;
        Ok(status["state"] == "healthy" && status["to_move"] == 0)
    })?;
    ensure!(holders_of(&cluster, "/d", &files)?.iter().all(|holders| holders.len() == 2));
    mount.unmount()
}

fn assert_unmoved(cluster: &Cluster, before: &[Vec<usize>], files: &[(String, Vec<u8>)]) -> Result<()> {
    let now = holders_of(cluster, "/d", files)?;
    ensure!(now == before, "copies were moved: {before:?} then, {now:?} now");
    Ok(())
}

/// Waits until a server was silent for three times as long as makes others dead, and nothing was moved meanwhile.
fn assert_left_alone(
    cluster: &Cluster,
    server: usize,
    before: &[Vec<usize>],
    files: &[(String, Vec<u8>)],
) -> Result<()> {
    run::wait_until("it is away for long", SETTLE, || {
        let status = cluster.server_status(server)?;
        ensure!(status["state"] == "maintenance", "{status}");
        Ok(status["silent_ms"].as_u64() > Some(3 * DEAD_AFTER_MS))
    })?;
    assert_unmoved(cluster, before, files)
}

#[test]
fn a_server_in_maintenance_is_not_repaired_around() -> Result<()> {
    let (mut cluster, files) = at_rest()?;
    let before = holders_of(&cluster, "/d", &files)?;
    let said = cairn(&cluster, &["server", "maintenance", "chunk0", "--for", "5m"])?;
    ensure!(said.contains("5m"), "{said}");
    cluster.kill_chunkserver(0)?;
    assert_left_alone(&cluster, 0, &before, &files)?;
    // Not even where the metaserver is started anew meanwhile.
    cluster.kill_meta()?;
    cluster.start_meta()?;
    assert_left_alone(&cluster, 0, &before, &files)?;
    cluster.start_chunkserver(0)?;
    cairn(&cluster, &["server", "resume", "chunk0"])?;
    cluster.wait_healthy()?;
    cluster.wait_settled(SETTLE)?;
    assert_unmoved(&cluster, &before, &files)?;
    let mount = cluster.mount()?;
    assert_files(&mount.join("d"), &files)?;
    mount.unmount()
}

#[test]
fn a_server_that_is_stopped_says_so_and_gets_its_time() -> Result<()> {
    let (mut cluster, files) = at_rest()?;
    let before = holders_of(&cluster, "/d", &files)?;
    cluster.stop_chunkserver(2)?;
    assert_left_alone(&cluster, 2, &before, &files)?;
    cluster.start_chunkserver(2)?;
    run::wait_until("its return ends it", SETTLE, || Ok(cluster.server_status(2)?["state"] == "healthy"))?;
    assert_unmoved(&cluster, &before, &files)
}

#[test]
fn maintenance_that_takes_too_long_is_a_loss() -> Result<()> {
    let (mut cluster, files) = at_rest()?;
    cairn(&cluster, &["server", "maintenance", "chunk0", "--for", "5s"])?;
    cluster.kill_chunkserver(0)?;
    run::wait_until("its copies are elsewhere", SETTLE, || {
        let holders = holders_of(&cluster, "/d", &files)?;
        Ok(holders.iter().all(|holders| holders.len() == 2 && !holders.contains(&0)))
    })?;
    let mount = cluster.mount()?;
    assert_files(&mount.join("d"), &files)?;
    mount.unmount()
}

#[test]
fn paused_repair_waits_and_says_so() -> Result<()> {
    let (mut cluster, files) = at_rest()?;
    cairn(&cluster, &["repair", "pause"])?;
    cluster.kill_chunkserver(0)?;
    let lost = holders_of(&cluster, "/d", &files)?.iter().filter(|holders| holders.contains(&0)).count() as u64;
    ensure!(lost > 0, "chunk0 holds nothing");
    run::wait_until("they are at risk", SETTLE, || {
        let repair = &cluster.cairn_json(&["status"])?["repair"];
        let waits = repair["at_risk"].as_u64() == Some(lost) && repair["oldest_exposure_ms"].as_u64() > Some(2000);
        Ok(waits && repair["paused"] == true && repair["to_copy"].as_u64() > Some(lost * 50_000))
    })?;
    ensure!(holders_of(&cluster, "/d", &files)?.iter().any(|holders| holders.contains(&0)), "nothing was repaired");
    let said = cairn(&cluster, &["status"])?;
    ensure!(said.contains("paused") && said.contains(&format!("{lost} at risk")), "{said}");
    let said = cairn(&cluster, &["repair", "limit", "200MiB", "--server", "none"])?;
    ensure!(said.contains("cluster 200 MiB/s, server no limit"), "{said}");
    cairn(&cluster, &["repair", "resume"])?;
    cluster.wait_settled(SETTLE)?;
    ensure!(holders_of(&cluster, "/d", &files)?.iter().all(|holders| !holders.contains(&0)));
    let mount = cluster.mount()?;
    assert_files(&mount.join("d"), &files)?;
    mount.unmount()
}

#[test]
fn mistakes_are_answered_in_one_line() -> Result<()> {
    let cluster = Cluster::with(quick(1, 1))?;
    for (args, code, reason) in [
        (&["server", "drain", "nobody"][..], 1, "there are chunk0"),
        (&["server", "maintenance", "chunk0", "--for", "60days"], 1, "30 days at most"),
        (&["server", "remove", "chunk0"], 1, "is up"),
        (&["repair", "limit"], 1, "nothing to limit"),
    ] {
        let output = cluster.cairn(args)?;
        let said = run::printed(&output);
        ensure!(output.status.code() == Some(code) && said.contains(reason), "{args:?}: {said}");
        ensure!(said.lines().count() == 1, "{args:?}: one line: {said}");
    }
    let output = cluster.cairn(&["repair", "limit", "0"])?;
    let said = run::printed(&output);
    ensure!(output.status.code() == Some(2) && said.contains("nothing would ever be repaired"), "{said}");
    let list = cairn(&cluster, &["server", "list"])?;
    ensure!(list.contains("host=chunk0"), "{list}");
    let json = cluster.cairn_json(&["server", "list"])?;
    let labels = json.as_array().context("a list")?.first().context("a server")?["labels"].clone();
    ensure!(labels["host"] == "chunk0", "{json}");
    Ok(())
}
