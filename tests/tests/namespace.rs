//! What the other suites do not reach: limits, large directories, open files that lose their names, sparse giants.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::Cluster;
use cairn_tests::run;
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, mknod};

#[test]
fn names_and_paths_to_their_limits() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    let longest = "n".repeat(255);
    std::fs::write(mount.join(&longest), b"x")?;
    let over = std::fs::write(mount.join(&"n".repeat(256)), b"x");
    ensure!(over.unwrap_err().raw_os_error() == Some(libc::ENAMETOOLONG));
    // Down to a depth whose path is longer than any single call may take.
    run::shell(
        mount.path(),
        "d=$(printf 'd%.0s' $(seq 200)); for i in $(seq 30); do mkdir $d && cd -P $d; done; echo deep > leaf; cat leaf",
    )?;
    let leaf = run::shell(mount.path(), "find . -name leaf | awk '{print length($0)}'")?;
    ensure!(leaf.trim().parse::<usize>()? > 4096, "the path is longer than PATH_MAX");
    run::shell(mount.path(), "rm -r dddd*")?;
    mount.unmount()
}

#[test]
fn sparse_files_to_two_to_the_56() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    let path = mount.join("giant");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    let size = 1u64 << 56;
    file.set_len(size)?;
    file.write_all_at(b"end", size - 3)?;
    file.write_all_at(b"middle", size / 2)?;
    file.sync_all()?;
    ensure!(file.metadata()?.len() == size);
    ensure!(file.metadata()?.blocks() < 10_000, "{} blocks for 9 bytes", file.metadata()?.blocks());
    let mut tail = [0; 8];
    file.read_exact_at(&mut tail, size - 8)?;
    ensure!(&tail == b"\0\0\0\0\0end");
    ensure!(file.set_len(size + 1).unwrap_err().raw_os_error() == Some(libc::EFBIG));
    let seek = |offset: u64, whence: i32| {
        // SAFETY: a plain call on an open descriptor.
        Errno::result(unsafe { libc::lseek(file.as_raw_fd(), offset as i64, whence) }).map(|o| o as u64)
    };
    let data = seek(0, libc::SEEK_DATA)?;
    ensure!(data <= size / 2 && size / 2 - data < 4096, "data at {data}");
    ensure!(seek(0, libc::SEEK_HOLE)? == 0);
    let hole = seek(data, libc::SEEK_HOLE)?;
    ensure!(hole > size / 2 && hole <= size / 2 + 8192, "hole at {hole}");
    let last = seek(hole, libc::SEEK_DATA)?;
    ensure!(last >= size - 4096 && last < size);
    ensure!(seek(last, libc::SEEK_HOLE)? == size, "the end of a file counts as a hole");
    ensure!(seek(size, libc::SEEK_DATA) == Err(Errno::ENXIO));
    drop(file);
    std::fs::remove_file(&path)?;
    mount.unmount()
}

#[test]
fn an_open_file_outlives_its_name() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    // A process of its own holds the file: a server started from one that does would first wait for itself (see `journal`).
    let script = "exec 3<>f; printf before >&3; rm f; printf ' and after' >&3; sync /proc/self/fd/3; echo removed; read _; cat /proc/self/fd/3";
    let mut holder = Command::new("bash")
        .args(["-euc", script])
        .current_dir(mount.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = BufReader::new(holder.stdout.take().context("stdout is piped")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    ensure!(line == "removed\n" && !mount.join("f").exists());
    // The metaserver learns anew who holds what open.
    cluster.kill_meta()?;
    cluster.start_meta()?;
    writeln!(holder.stdin.take().context("stdin is piped")?)?;
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    ensure!(holder.wait()?.success() && text == "before and after", "{text:?}");
    mount.unmount()?;
    cluster.wait_settled(std::time::Duration::from_secs(90))?;
    run::wait_until("the inode is gone", std::time::Duration::from_secs(60), || {
        Ok(cluster.cairn_json(&["status"])?["fs"]["inodes"].as_u64() == Some(1))
    })?;
    cluster.assert_fsck_clean()
}

#[test]
fn a_listing_holds_while_the_directory_changes() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    let dir = mount.join("d");
    std::fs::create_dir(&dir)?;
    for n in 0..5_000 {
        File::create(dir.join(format!("stays-{n}")))?;
    }
    for n in 0..2_000 {
        File::create(dir.join(format!("goes-{n}")))?;
    }
    let mut seen = HashSet::new();
    for (n, entry) in std::fs::read_dir(&dir)?.enumerate() {
        let name = entry?.file_name().into_string().expect("ASCII names");
        ensure!(seen.insert(name.clone()), "{name} is listed twice");
        if n < 2_000 {
            std::fs::remove_file(dir.join(format!("goes-{n}")))?;
            File::create(dir.join(format!("comes-{n}")))?;
        }
    }
    for n in 0..5_000 {
        ensure!(seen.contains(&format!("stays-{n}")), "stays-{n} was there all the time and is not listed");
    }
    std::fs::remove_dir_all(&dir)?;
    mount.unmount()
}

/// A million names by default; `CAIRN_DIR_ENTRIES` says otherwise. While they are listed the directory changes: what is there all the time
/// is listed once, whatever else comes and goes.
#[test]
fn a_directory_of_a_million_entries() -> Result<()> {
    /// Of so many entries one is removed while they are listed, and another one made.
    const STEP: usize = 1000;
    let entries: usize = std::env::var("CAIRN_DIR_ENTRIES").map_or(Ok(1_000_000), |n| n.parse())?;
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    let dir = mount.join("big");
    std::fs::create_dir(&dir)?;
    for n in 0..entries {
        mknod(&dir.join(format!("{n:07}")), SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0)?;
    }
    mount.unmount()?;
    // One that knows nothing yet.
    let mount = cluster.mount()?;
    let dir = mount.join("big");
    let goes = |n: usize| n % STEP == 7;
    let mut seen = HashSet::with_capacity(entries);
    for (n, entry) in std::fs::read_dir(&dir)?.enumerate() {
        let name = entry?.file_name().into_string().expect("ASCII names");
        if goes(n) && n < entries {
            std::fs::remove_file(dir.join(format!("{n:07}")))?;
            std::fs::write(dir.join(format!("new{n}")), b"made while they are listed")?;
        }
        ensure!(seen.insert(name.clone()), "{name} is listed twice");
    }
    let missing = (0..entries).filter(|&n| !goes(n)).find(|n| !seen.contains(&format!("{n:07}")));
    ensure!(missing.is_none(), "{missing:?} was there all the time, and is not listed");
    ensure!(std::fs::metadata(dir.join(format!("{:07}", entries / 2)))?.len() == 0);
    let removed = (0..entries).filter(|&n| goes(n)).count();
    ensure!(std::fs::read_dir(&dir)?.count() == entries, "{removed} are gone, and as many are new");
    mount.unmount()
}

#[test]
fn appends_of_many_processes_stay_whole() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    let path = mount.join("log");
    let writers: Vec<_> = (0..4u8)
        .map(|w| {
            let path = path.clone();
            std::thread::spawn(move || -> Result<()> {
                let mut file = OpenOptions::new().append(true).create(true).open(path)?;
                (0..500).try_for_each(|_| file.write_all(&[b'a' + w; 333]).map_err(Into::into))
            })
        })
        .collect();
    writers.into_iter().try_for_each(|w| w.join().expect("no panic"))?;
    let text = std::fs::read(&path)?;
    ensure!(text.len() == 4 * 500 * 333, "{} bytes", text.len());
    ensure!(text.chunks(333).all(|r| r.iter().all(|b| *b == r[0])), "a record is torn");
    mount.unmount()
}

#[test]
fn direct_io_and_synchronous_writes() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    let flags =
        |flags| OpenOptions::new().read(true).write(true).create(true).custom_flags(flags).open(mount.join("f"));
    let direct = flags(libc::O_DIRECT)?;
    let buffered = flags(0)?;
    buffered.write_all_at(&[1; 8192], 0)?;
    let layout = std::alloc::Layout::from_size_align(4096, 4096)?;
    // SAFETY: allocated with this layout, used within its length, freed once.
    unsafe {
        let block = std::slice::from_raw_parts_mut(std::alloc::alloc_zeroed(layout), 4096);
        direct.read_exact_at(block, 4096)?;
        ensure!(block.iter().all(|b| *b == 1), "direct reads see what is buffered");
        block.fill(2);
        direct.write_all_at(block, 0)?;
        std::alloc::dealloc(block.as_mut_ptr(), layout);
    }
    let mut both = [0; 8192];
    buffered.read_exact_at(&mut both, 0)?;
    ensure!(
        both[..4096].iter().all(|b| *b == 2) && both[4096..].iter().all(|b| *b == 1),
        "buffered reads see direct writes"
    );
    drop((direct, buffered));
    flags(libc::O_SYNC)?.write_all_at(b"synced", 0).context("O_SYNC")?;
    flags(libc::O_DSYNC)?.write_all_at(b"synced", 0).context("O_DSYNC")?;
    mount.unmount()
}
