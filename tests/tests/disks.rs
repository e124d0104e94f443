//! Several disks in one chunkserver: each fails by itself (`docs/operations.md`, "Disks").

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::{Cluster, Faults, Options};
use cairn_tests::{binaries, pattern, run};
use serde_json::Value;

const SETTLE: Duration = Duration::from_secs(120);
const MIB: u64 = 1 << 20;
const LEN: usize = 60_000;

/// Three chunkservers with two copies of each chunk, and so many disks each.
fn with_disks(disks: usize) -> Options {
    Options { disks, ..Options::quick_detection() }
}

/// The same, whose disks fail when they are told to.
fn that_fail(disks: usize) -> Result<Options> {
    let env = vec![("CAIRN_FAULTS", "disk-errors".to_owned())];
    Ok(Options { chunk_faults: Some(Faults { binary: binaries::cairn_faulty()?, env }), ..with_disks(disks) })
}

/// From now on every call to a disk fails with `EIO`, or not any more.
fn set_broken(cluster: &Cluster, server: usize, disk: usize, broken: bool) -> Result<()> {
    let switch = cluster.disk_dir(server, disk).with_extension("eio");
    if broken {
        std::fs::write(switch, b"")?;
    } else {
        std::fs::remove_file(switch)?;
    }
    Ok(())
}

/// Writes and syncs files of one chunk each.
fn write_files(dir: &Path, range: std::ops::Range<u64>) -> Result<()> {
    for n in range {
        let mut file = File::create(dir.join(format!("f{n}")))?;
        file.write_all(&pattern::bytes(n, LEN))?;
        file.sync_all()?;
    }
    Ok(())
}

fn assert_files(dir: &Path, range: std::ops::Range<u64>) -> Result<()> {
    for n in range {
        ensure!(std::fs::read(dir.join(format!("f{n}")))? == pattern::bytes(n, LEN), "f{n} differs");
    }
    Ok(())
}

/// Chunk files in a data directory.
fn chunk_files(dir: &Path) -> Result<usize> {
    let Ok(entries) = std::fs::read_dir(dir.join("chunks")) else { return Ok(0) };
    let mut count = 0;
    for entry in entries {
        let names = std::fs::read_dir(entry?.path())?.collect::<std::io::Result<Vec<_>>>()?;
        count += names.iter().filter(|name| name.path().extension().is_some_and(|ext| ext == "chunk")).count();
    }
    Ok(count)
}

/// What `cairn status` says of a chunkserver's disks.
fn disks(cluster: &Cluster, server: usize) -> Result<Vec<Value>> {
    cluster.server_status(server)?["disks"].as_array().cloned().context("a server has disks")
}

fn states(cluster: &Cluster, server: usize) -> Result<Vec<String>> {
    let state = |disk: &Value| Ok(disk["state"].as_str().context("a disk has a state")?.to_owned());
    disks(cluster, server)?.iter().map(state).collect()
}

fn wait_for_states(cluster: &Cluster, server: usize, wanted: &[&str]) -> Result<()> {
    let what = format!("the disks of chunk{server} are {wanted:?}");
    run::wait_until(&what, SETTLE, || Ok(states(cluster, server)? == wanted))
}

/// Waits until nothing is to be repaired any more, and checks that.
fn wait_for_repair(cluster: &Cluster) -> Result<()> {
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean()
}

#[test]
fn chunks_are_spread_over_disks_and_survive_restarts() -> Result<()> {
    let mut cluster = Cluster::with(with_disks(3))?;
    let mount = cluster.mount()?;
    write_files(mount.path(), 0..60)?;
    for server in 0..3 {
        let counts = (0..3).map(|n| chunk_files(&cluster.disk_dir(server, n))).collect::<Result<Vec<_>>>()?;
        ensure!(counts.iter().all(|count| *count > 2), "chunk{server}: {counts:?}");
        wait_for_states(&cluster, server, &["ok", "ok", "ok"])?;
        run::wait_until("the counts of copies are known", SETTLE, || {
            let told = disks(&cluster, server)?.iter().map(|disk| disk["chunks"].as_u64()).collect::<Option<Vec<_>>>();
            let counts = counts.iter().map(|count| *count as u64).collect::<Vec<_>>();
            Ok(told == Some(counts))
        })?;
    }
    cluster.kill_all()?;
    cluster.start_all()?;
    cluster.wait_healthy()?;
    assert_files(mount.path(), 0..60)?;
    mount.unmount()?;
    wait_for_repair(&cluster)
}

#[test]
fn one_directory_grows_to_two() -> Result<()> {
    let mut cluster = Cluster::with(with_disks(1))?;
    let mount = cluster.mount()?;
    write_files(mount.path(), 0..20)?;
    let ids = (0..3).map(|n| Ok(cluster.server_status(n)?["id"].clone())).collect::<Result<Vec<_>>>()?;
    (0..3).try_for_each(|server| cluster.stop_chunkserver(server))?;
    cluster.set_disks(2);
    (0..3).try_for_each(|server| cluster.start_chunkserver(server))?;
    cluster.wait_healthy()?;
    write_files(mount.path(), 20..60)?;
    assert_files(mount.path(), 0..60)?;
    for (server, id) in ids.iter().enumerate() {
        ensure!(cluster.server_status(server)?["id"] == *id, "it is the same server");
        ensure!(chunk_files(&cluster.disk_dir(server, 1))? > 2, "the new disk is used");
        wait_for_states(&cluster, server, &["ok", "ok"])?;
    }
    mount.unmount()?;
    wait_for_repair(&cluster)
}

/// A disk fails under a load: nobody notices, what was on it is made anew without a command, and the other one goes on.
#[test]
fn a_disk_that_fails_is_repaired_and_the_others_go_on() -> Result<()> {
    let mut cluster = Cluster::with(that_fail(2)?)?;
    let mount = cluster.mount()?;
    write_files(mount.path(), 0..60)?;
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| -> Result<u64> {
        let load = scope.spawn(|| -> Result<u64> {
            let open = File::create(mount.join("open"))?;
            let mut n = 60;
            while !stop.load(Ordering::Relaxed) {
                write_files(mount.path(), n..n + 1)?;
                open.write_all_at(&n.to_le_bytes(), n * 8)?;
                open.sync_all()?;
                n += 1;
            }
            Ok(n)
        });
        let failing = (|| {
            set_broken(&cluster, 0, 1, true)?;
            wait_for_states(&cluster, 0, &["ok", "failed"])?;
            assert_files(mount.path(), 0..60)?;
            std::thread::sleep(Duration::from_secs(2));
            anyhow::Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        let written = load.join().map_err(|_| anyhow::anyhow!("the load panicked"))?.context("the load")?;
        failing.map(|()| written)
    })?;
    assert_files(mount.path(), 0..written)?;
    let open = std::fs::read(mount.join("open"))?;
    ensure!((60..written).all(|n| open[n as usize * 8..][..8] == n.to_le_bytes()), "what was synced is there");
    mount.unmount()?;
    wait_for_repair(&cluster)?;

    ensure!(cluster.server_status(0)?["state"] == "healthy", "its server goes on");
    let failed = &disks(&cluster, 0)?[1];
    ensure!(failed["chunks"] == 0 && failed["errors"].as_u64() > Some(0), "{failed}");
    ensure!(failed["why"].as_str().is_some_and(|why| !why.is_empty()), "{failed}");
    let path = cluster.disk_dir(0, 1).display().to_string();
    for command in [["status"].as_slice(), &["server", "list"]] {
        let said = run::printed(&cluster.cairn(command)?);
        ensure!(said.contains("chunk0:1") && said.contains("failed") && said.contains(&path), "{said}");
    }
    let log = cluster.chunkserver(0)?.log()?;
    ensure!(log.matches("a disk has failed: its chunks are repaired elsewhere").count() == 1, "one line says so");

    // Whole again, it is used again from the next start on; what is on it and was made anew elsewhere goes.
    set_broken(&cluster, 0, 1, false)?;
    cluster.stop_chunkserver(0)?;
    cluster.start_chunkserver(0)?;
    cluster.wait_healthy()?;
    wait_for_states(&cluster, 0, &["ok", "ok"])?;
    let mount = cluster.mount()?;
    assert_files(mount.path(), 0..written)?;
    write_files(mount.path(), written..written + 20)?;
    mount.unmount()?;
    wait_for_repair(&cluster)
}

/// The only disk of a server fails: the server is there, and has nothing.
#[test]
fn a_server_whose_only_disk_fails_holds_nothing_any_more() -> Result<()> {
    let cluster = Cluster::with(that_fail(1)?)?;
    let mount = cluster.mount()?;
    write_files(mount.path(), 0..20)?;
    set_broken(&cluster, 2, 0, true)?;
    wait_for_states(&cluster, 2, &["failed"])?;
    write_files(mount.path(), 20..30)?;
    assert_files(mount.path(), 0..30)?;
    mount.unmount()?;
    wait_for_repair(&cluster)?;
    ensure!(cluster.server_status(2)?["free"] == 0, "nothing is placed on it");
    Ok(())
}

#[test]
fn a_disk_that_is_missing_at_the_start_is_left_out() -> Result<()> {
    let mut cluster = Cluster::with(with_disks(2))?;
    let mount = cluster.mount()?;
    write_files(mount.path(), 0..40)?;
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    cluster.stop_chunkserver(1)?;
    let (there, away) = (cluster.disk_dir(1, 1), cluster.dir().join("away"));
    run::check(Command::new("mv").args([&there, &away]))?;
    // As where a disk is not mounted.
    std::fs::create_dir(&there)?;
    cluster.start_chunkserver(1)?;
    wait_for_states(&cluster, 1, &["ok", "failed"])?;
    let log = cluster.chunkserver(1)?.log()?;
    ensure!(log.matches("starting without a disk").count() == 1, "one line says so");
    ensure!(chunk_files(&there)? == 0, "the empty directory is not taken for a new disk");
    let mount = cluster.mount()?;
    assert_files(mount.path(), 0..40)?;
    wait_for_repair(&cluster)?;

    cluster.stop_chunkserver(1)?;
    std::fs::remove_file(there.join("lock"))?;
    std::fs::remove_dir(&there)?;
    run::check(Command::new("mv").args([&away, &there]))?;
    cluster.start_chunkserver(1)?;
    cluster.wait_healthy()?;
    wait_for_states(&cluster, 1, &["ok", "ok"])?;
    assert_files(mount.path(), 0..40)?;
    mount.unmount()?;
    wait_for_repair(&cluster)
}

/// Starts a chunkserver that must not start. Answers what it says.
fn refusal(cluster: &Cluster, directories: &[PathBuf]) -> Result<String> {
    let mut command = Command::new("timeout");
    command.arg("20").arg(binaries::cairn()).args(["chunkserver", "--listen", "127.0.0.1:0", "--health", ""]);
    command.args(["--meta", cluster.meta_endpoint(), "--log", "error"]);
    for dir in directories {
        command.arg("--data").arg(dir);
    }
    let output = run::output(&mut command)?;
    let said = run::printed(&output);
    ensure!(output.status.code() == Some(1), "it was to be refused, and ended with {}: {said}", output.status);
    Ok(said.trim().to_owned())
}

#[test]
fn directories_that_do_not_belong_together_are_refused() -> Result<()> {
    let mut cluster = Cluster::with(with_disks(2))?;
    let mount = cluster.mount()?;
    write_files(mount.path(), 0..10)?;
    mount.unmount()?;
    (0..2).try_for_each(|server| cluster.stop_chunkserver(server))?;
    let [a, b, foreign] = [(0, 0), (0, 1), (1, 0)].map(|(server, disk)| cluster.disk_dir(server, disk));
    let copy = cluster.dir().join("copy");
    run::check(Command::new("cp").arg("-a").args([&b, &copy]))?;
    let elsewhere = Cluster::with(Options { chunkservers: 1, copies: 1, ..Options::default() })?;
    let strange = cluster.dir().join("strange");
    run::check(Command::new("cp").arg("-a").args([&elsewhere.chunkserver_dir(0), &strange]))?;
    for (directories, says) in [
        ([&a, &foreign].as_slice(), "belongs to chunkserver"),
        (&[&a, &strange], "belongs to chunkserver"),
        (&[&a, &b, &copy], "one is a copy of the other"),
        (&[&b, &a, &b], "are the same directory"),
    ] {
        let said = refusal(&cluster, &directories.iter().map(|dir| (*dir).clone()).collect::<Vec<_>>())?;
        ensure!(said.contains(says) && said.lines().count() == 1, "{said}");
        let named = directories.iter().filter(|dir| said.contains(&dir.display().to_string()));
        ensure!(named.count() >= 2, "both are named: {said}");
    }
    // Of another cluster altogether.
    let said = refusal(&cluster, &[strange])?;
    ensure!(said.contains("belongs to cluster"), "{said}");
    // Nothing of that has changed anything.
    (0..2).try_for_each(|server| cluster.start_chunkserver(server))?;
    cluster.wait_healthy()?;
    let mount = cluster.mount()?;
    assert_files(mount.path(), 0..10)?;
    mount.unmount()?;
    wait_for_repair(&cluster)
}

#[test]
fn a_full_disk_is_passed_over() -> Result<()> {
    let options = Options {
        chunk_disk: Some(256 * MIB),
        chunk_args: vec!["--set".into(), format!("reserve_bytes={}", 8 * MIB)],
        ..with_disks(2)
    };
    let cluster = Cluster::with(options)?;
    let mount = cluster.mount()?;
    write_files(mount.path(), 0..20)?;
    let before = (0..3).map(|server| chunk_files(&cluster.disk_dir(server, 1))).collect::<Result<Vec<_>>>()?;
    let ballast = (0..3).map(|server| cluster.chunk_disk_of(server, 1)?.fill()).collect::<Result<Vec<_>>>()?;
    (0..3).try_for_each(|server| wait_for_states(&cluster, server, &["ok", "full"]))?;
    write_files(mount.path(), 20..60)?;
    let after = (0..3).map(|server| chunk_files(&cluster.disk_dir(server, 1))).collect::<Result<Vec<_>>>()?;
    ensure!(before == after, "no chunk was made on a full disk: {before:?}, then {after:?}");
    assert_files(mount.path(), 0..60)?;
    for server in 0..3 {
        let status = cluster.server_status(server)?;
        let free = disks(&cluster, server)?[0]["free"].as_u64().context("a disk has free space")?;
        ensure!(status["free"].as_u64().is_some_and(|told| told.abs_diff(free) < 16 * MIB), "{status}");
    }
    drop(ballast);
    (0..3).try_for_each(|server| wait_for_states(&cluster, server, &["ok", "ok"]))?;
    mount.unmount()?;
    wait_for_repair(&cluster)
}

#[test]
fn what_would_be_if_a_disk_failed() -> Result<()> {
    let cluster = Cluster::with(Options { copies: 1, ..with_disks(2) })?;
    let mount = cluster.mount()?;
    write_files(mount.path(), 0..40)?;
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    let mut lost = 0;
    for server in 0..3 {
        for n in 0..2 {
            let there = chunk_files(&cluster.disk_dir(server, n))? as u64;
            let disk = &disks(&cluster, server)?[n];
            let (path, id) = (disk["path"].as_str().context("a path")?, disk["id"].as_str().context("an id")?);
            for name in [format!("chunk{server}:{n}"), path.to_owned(), id.to_owned()] {
                let said = cluster.cairn_json(&["simulate", "fail", &format!("disk={name}"), "--files", "100"])?;
                ensure!(said["lost"] == there, "{name}: {there} chunks, and it says {said}");
                let files = said["files"].as_array().context("files are named")?;
                ensure!(files.len() as u64 == there && files.iter().all(|file| file["outcome"] == "lost"), "{said}");
            }
            lost += there;
        }
    }
    ensure!(lost == 40, "each chunk is on one disk: {lost}");
    let output = cluster.cairn(&["simulate", "fail", "disk=chunk0:7"])?;
    let said = run::printed(&output);
    ensure!(output.status.code() == Some(1) && said.contains("disk=chunk0:7") && said.lines().count() == 1, "{said}");
    Ok(())
}
