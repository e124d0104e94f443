//! Full disks: `ENOSPC` for the program, no damage, and on it goes once there is space.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::{pattern, run};

const MIB: u64 = 1 << 20;

/// What the metaserver leaves of its disk for itself.
const META_RESERVE: u64 = 32 * MIB;

/// Writes files of 4 MiB, each synced, until one fails; answers how many were kept and with what error it ended.
fn fill(dir: &Path, limit: u64) -> Result<(u64, std::io::Error)> {
    for n in 0..limit {
        let step = || -> std::io::Result<()> {
            let mut file = File::create(dir.join(format!("fill{n}")))?;
            file.write_all(&pattern::bytes(n, 4 << 20))?;
            file.sync_all()
        };
        if let Err(e) = step() {
            return Ok((n, e));
        }
    }
    bail!("{limit} files fit on a disk that is too small for them")
}

#[test]
fn a_full_chunkserver_is_enospc_and_no_damage() -> Result<()> {
    let options = Options {
        chunk_disk: Some(160 * MIB),
        chunk_args: vec!["--set".into(), format!("reserve_bytes={}", 16 * MIB)],
        ..Options::default()
    };
    let cluster = Cluster::with(options)?;
    let mount = cluster.mount()?;
    let (kept, error) = fill(mount.path(), 200)?;
    ensure!(error.kind() == ErrorKind::StorageFull, "{error} where the disks are full");
    ensure!(kept >= 20, "full after {kept} files");
    for n in 0..kept {
        ensure!(std::fs::read(mount.join(&format!("fill{n}")))? == pattern::bytes(n, 4 << 20), "fill{n} is damaged");
    }
    for n in 0..kept / 2 {
        std::fs::remove_file(mount.join(&format!("fill{n}")))?;
    }
    run::wait_until("there is space again", Duration::from_secs(60), || {
        let mut file = File::create(mount.join("after"))?;
        Ok(file.write_all(&pattern::bytes(1, 4 << 20)).and_then(|()| file.sync_all()).is_ok())
    })?;
    ensure!(std::fs::read(mount.join("after"))? == pattern::bytes(1, 4 << 20));
    for n in kept / 2..kept {
        ensure!(std::fs::read(mount.join(&format!("fill{n}")))? == pattern::bytes(n, 4 << 20), "fill{n} is damaged");
    }
    mount.unmount()?;
    cluster.wait_settled(Duration::from_secs(120))?;
    cluster.assert_fsck_clean()
}

/// The metaserver hands out a chunk, of which nothing has been written, on servers that have filled up since it heard of them.
#[test]
fn disks_that_filled_up_unheard_of_are_enospc() -> Result<()> {
    let meta_args = ["heartbeat_ms=20000", "suspect_after_ms=60000", "dead_after_ms=120000"];
    let options = Options {
        chunk_disk: Some(64 * MIB),
        chunk_args: vec!["--set".into(), format!("reserve_bytes={}", 4 * MIB)],
        meta_args: meta_args.iter().flat_map(|arg| ["--set".to_owned(), (*arg).to_owned()]).collect(),
        ..Options::default()
    };
    let cluster = Cluster::with(options)?;
    let mount = cluster.mount()?;
    let ballast = (0..3).map(|i| cluster.chunk_disk(i)?.fill()).collect::<Result<Vec<_>>>()?;
    let write = || -> std::io::Result<()> {
        let mut file = File::create(mount.join("f"))?;
        file.write_all(&pattern::bytes(1, 1 << 20))?;
        file.sync_all()
    };
    let error = write().err().context("there was room on full disks")?;
    ensure!(error.kind() == ErrorKind::StorageFull, "{error} where the disks are full");
    drop(ballast);
    write().context("there is room again")?;
    ensure!(std::fs::read(mount.join("f"))? == pattern::bytes(1, 1 << 20));
    mount.unmount()
}

#[test]
fn a_full_metaserver_is_enospc_and_no_damage() -> Result<()> {
    let options = Options {
        meta_disk: Some(256 * MIB),
        meta_args: vec!["--set".into(), format!("reserve_bytes={}", META_RESERVE)],
        ..Options::default()
    };
    let mut cluster = Cluster::with(options)?;
    let mount = cluster.mount()?;
    // Ballast first, so that names need not fill it all.
    let ballast = cluster.meta_disk()?.free()? - META_RESERVE - 3 * MIB;
    std::fs::write(cluster.meta_dir().join("ballast"), vec![1; ballast as usize])?;
    // The store compresses; this it cannot.
    let name = |n: u64| pattern::bytes(n, 110).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut kept = 0;
    let error = loop {
        match File::create(mount.join(&name(kept))) {
            Ok(_) => kept += 1,
            Err(e) => break e,
        }
        ensure!(kept < 200_000, "{kept} names fit on a disk that is too small for them");
    };
    ensure!(error.kind() == ErrorKind::StorageFull, "{error} where the metaserver's disk is full");
    ensure!(kept > 10, "full after {kept} names");
    let count = |dir: &Path| -> Result<u64> { Ok(std::fs::read_dir(dir)?.count() as u64) };
    ensure!(count(mount.path())? == kept, "names are lost");
    // Removing works while it is full.
    std::fs::remove_file(mount.join(&name(0))).context("unlink on a full metaserver")?;
    cluster.kill_meta()?;
    cluster.start_meta()?;
    ensure!(count(mount.path())? == kept - 1, "names are lost over a restart on a full disk");
    cluster.meta_disk()?.grow(512 * MIB)?;
    run::wait_until("there is space again", Duration::from_secs(30), || Ok(File::create(mount.join("after")).is_ok()))?;
    mount.unmount()?;
    cluster.assert_fsck_clean()
}
