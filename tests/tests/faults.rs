//! Faults under load, against real processes.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::copies::flip_bit;
use cairn_tests::journal::{Names, Writer};
use cairn_tests::{pattern, run};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const SETTLE: Duration = Duration::from_secs(120);

#[test]
fn a_writer_does_not_notice_that_a_chunkserver_dies() -> Result<()> {
    let mut cluster = Cluster::with(Options::quick_detection())?;
    let mount = cluster.mount()?;
    let path = mount.join("big");
    let len = 160 << 20;
    let want = pattern::bytes(7, len);
    let stop_at = Arc::new(AtomicU64::new(0));
    let (write_path, bytes, progress) = (path.clone(), want.clone(), Arc::clone(&stop_at));
    let writer = thread::spawn(move || -> Result<()> {
        let mut file = File::create(write_path)?;
        for piece in bytes.chunks(1 << 20) {
            file.write_all(piece)?;
            progress.fetch_add(1, Ordering::SeqCst);
        }
        file.sync_all()?;
        Ok(())
    });
    run::wait_until("40 MiB written", Duration::from_secs(60), || Ok(stop_at.load(Ordering::SeqCst) >= 40))?;
    cluster.kill_chunkserver(0)?;
    writer.join().expect("the writer does not panic").context("the writer noticed")?;
    ensure!(std::fs::read(&path)? == want, "the bytes differ");
    cluster.start_chunkserver(0)?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean()?;
    mount.unmount()?;
    let mount = cluster.mount()?;
    ensure!(std::fs::read(mount.join("big"))? == want, "the bytes differ from a fresh mount");
    mount.unmount()
}

#[test]
fn a_reader_does_not_notice_that_a_chunkserver_dies() -> Result<()> {
    let mut cluster = Cluster::with(Options::quick_detection())?;
    let mount = cluster.mount()?;
    let want = pattern::bytes(8, 200 << 20);
    std::fs::write(mount.join("big"), &want)?;
    mount.unmount()?;
    // A fresh client has nothing cached.
    let mount = cluster.mount()?;
    let mut file = File::open(mount.join("big"))?;
    let mut got = vec![0; want.len()];
    let (first, rest) = got.split_at_mut(30 << 20);
    file.read_exact(first)?;
    cluster.kill_chunkserver(1)?;
    file.read_exact(rest).context("the reader noticed")?;
    drop(file);
    ensure!(got == want, "the bytes differ");
    mount.unmount()?;
    cluster.wait_settled(SETTLE)
}

#[test]
fn a_flipped_bit_is_read_around_logged_and_counted() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    let want = pattern::bytes(9, 8 << 20);
    {
        let mut file = File::create(mount.join("f"))?;
        file.write_all(&want)?;
        file.sync_all()?;
    }
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    let info = |cluster: &Cluster, path: &str| cluster.cairn_json(&["info", path]);
    let before = info(&cluster, "/f")?;
    let replicas = before["chunks"][0]["replicas"].as_array().context("chunk 0 has replicas")?.clone();
    // Whichever copy a reader prefers: flip one bit in each copy, in blocks of their own.
    for (n, replica) in replicas.iter().enumerate() {
        let name = replica["name"].as_str().context("a replica has a name")?;
        let index: usize = name.trim_start_matches("chunk").parse()?;
        flip_bit(&data_file(&cluster.chunkserver_dir(index))?, 1_000_000 + 100_000 * n as u64, 4)?;
    }
    let mount = cluster.mount()?;
    ensure!(std::fs::read(mount.join("f"))? == want, "a flipped bit reached the reader");
    mount.unmount()?;
    run::wait_until("the damage is counted", Duration::from_secs(20), || {
        let status = cluster.cairn_json(&["status"])?;
        let damaged: u64 =
            status["servers"].as_array().into_iter().flatten().filter_map(|s| s["damaged"].as_u64()).sum();
        Ok(damaged > 0)
    })?;
    let logs: String =
        (0..3).map(|i| std::fs::read_to_string(cluster.log(&format!("chunk{i}"))).unwrap_or_default()).collect();
    ensure!(logs.contains("damaged"), "no chunkserver logged the damage");
    Ok(())
}

#[test]
fn twenty_times_all_killed_loses_nothing_that_was_synced() -> Result<()> {
    let seed = pattern::seed("twenty_kills");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::with(Options::quick_detection())?;
    let mount = cluster.mount()?;
    let writers = (0..3)
        .map(|n| Writer::start(&mount.join(&format!("w{n}")), seed.wrapping_add(n), Names::AsReturned))
        .collect::<Result<Vec<_>>>()?;
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(rng.random_range(200..1500)));
        cluster.kill_all()?;
        cluster.start_all()?;
    }
    let journals =
        writers.into_iter().map(Writer::finish).collect::<Result<Vec<_>>>().with_context(|| format!("seed {seed}"))?;
    let synced: usize = journals.iter().map(|j| j.records.len()).sum();
    println!("{synced} acknowledged steps to check");
    ensure!(synced > 100, "the load hardly ran: {synced} steps");
    for journal in &journals {
        journal.check()?;
    }
    mount.unmount()?;
    let mount = cluster.mount()?;
    for (n, journal) in journals.into_iter().enumerate() {
        let again = journal.at(&mount.join(&format!("w{n}")));
        again.check().with_context(|| format!("from a fresh mount, seed {seed}"))?;
    }
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean().with_context(|| format!("seed {seed}"))
}

#[test]
fn the_client_killed_too_keeps_what_was_synced() -> Result<()> {
    let seed = pattern::seed("client_killed");
    let mut cluster = Cluster::with(Options::quick_detection())?;
    let mount = cluster.mount()?;
    let writer = Writer::start(&mount.join("w"), seed, Names::Synced)?;
    thread::sleep(Duration::from_secs(4));
    cluster.kill_all()?;
    mount.kill()?;
    let journal = writer.interrupted()?;
    cluster.start_all()?;
    let mount = cluster.mount()?;
    let moved = journal.at(&mount.join("w"));
    ensure!(moved.records.len() > 20, "the load hardly ran: {} steps", moved.records.len());
    moved.check().with_context(|| format!("seed {seed}"))?;
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean().with_context(|| format!("seed {seed}"))
}

#[test]
fn without_its_sled_files_the_metaserver_rebuilds() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    for n in 0..300 {
        std::fs::write(mount.join(&format!("f{n}")), pattern::bytes(n, 5000))?;
    }
    let listing = run::shell(mount.path(), "ls -lan --time-style=full-iso")?;
    let output = cluster.cairn(&["checkpoint"])?;
    ensure!(output.status.success(), "{}", run::printed(&output));
    for n in 300..400 {
        std::fs::write(mount.join(&format!("f{n}")), pattern::bytes(n, 5000))?;
    }
    let listing_after = run::shell(mount.path(), "ls -lan --time-style=full-iso")?;
    ensure!(listing != listing_after, "the second half is there");
    cluster.kill_meta()?;
    let store = cluster.meta_dir().join("store");
    ensure!(store.is_dir(), "{} is where the sled files are", store.display());
    std::fs::remove_dir_all(&store)?;
    cluster.start_meta()?;
    ensure!(run::shell(mount.path(), "ls -lan --time-style=full-iso")? == listing_after, "the listing changed");
    for n in 0..400 {
        ensure!(std::fs::read(mount.join(&format!("f{n}")))? == pattern::bytes(n, 5000), "f{n} changed");
    }
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean()
}

/// The largest data file of a chunkserver.
fn data_file(dir: &Path) -> Result<PathBuf> {
    let script = "find . -type f -size +1M -printf '%s %p\\n' | sort -n | tail -1 | cut -d' ' -f2";
    let relative = run::shell(dir, script)?;
    ensure!(!relative.trim().is_empty(), "no data file under {}", dir.display());
    Ok(dir.join(relative.trim()))
}
