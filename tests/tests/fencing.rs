//! Who has been silent for a term has lost what it held, and learns it before it does harm; who was silent for less has lost nothing.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::journal::{Names, Writer};
use cairn_tests::locker::Locker;
use cairn_tests::mount::Mount;
use cairn_tests::stopped::Stopped;
use cairn_tests::{pattern, run};

/// Silence after which the metaserver gives a client up.
const TERM: Duration = Duration::from_secs(4);
/// For what happens after a term.
const SOON: Duration = Duration::from_secs(30);

fn cluster(network: bool) -> Result<Cluster> {
    let meta_args = vec!["--set".into(), format!("session_term_s={}", TERM.as_secs())];
    Cluster::with(Options { meta_args, network, ..Options::default() })
}

fn wait_until_given_up(cluster: &Cluster, mount: &Mount) -> Result<()> {
    run::wait_until("the metaserver gives the client up", SOON, || Ok(cluster.session_of(mount)?.is_none()))
}

#[test]
fn a_metaserver_that_is_stopped_for_less_than_a_term_is_a_pause() -> Result<()> {
    let seed = pattern::seed("pause");
    let cluster = cluster(false)?;
    let mounts = [cluster.mount()?, cluster.mount()?];
    let sessions = cluster.sessions()?;
    ensure!(sessions.len() == 2, "two mounts have sessions {sessions:?}");
    let (mut a, mut b) = (Locker::start(mounts[0].path())?, Locker::start(mounts[1].path())?);
    for locker in [&mut a, &mut b] {
        locker.expect("open f", "ok")?;
    }
    a.expect("set 0 write 0 10", "ok")?;
    a.expect("flock 0 read", "ok")?;
    let start = |(n, mount): (usize, &Mount)| Writer::start(&mount.join(&format!("w{n}")), seed, Names::AsReturned);
    let writers = mounts.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    for _ in 0..3 {
        // They work for a while.
        std::thread::sleep(Duration::from_millis(1_500));
        let stopped = Stopped::new(cluster.meta()?)?;
        // It is asked while it cannot answer, and answers later.
        b.begin("set 0 write 5 1")?;
        std::thread::sleep(TERM.mul_f64(0.7));
        stopped.resume();
        let got = b.answer()?;
        ensure!(got == "EAGAIN", "{got}: the lock was lost in a pause");
    }
    b.expect("flock 0 write", "EAGAIN")?;
    a.expect("set 0 unlock 0 10", "ok")?;
    b.expect("set 0 write 5 1", "ok")?;
    for writer in writers {
        let journal = writer.finish().context("a program noticed the pause")?;
        ensure!(journal.records.len() > 10, "the load hardly ran: {} steps", journal.records.len());
        journal.check()?;
    }
    ensure!(cluster.sessions()? == sessions, "sessions were {sessions:?}, and are {:?}", cluster.sessions()?);
    drop((a, b));
    mounts.into_iter().try_for_each(|mount| mount.unmount())?;
    cluster.assert_fsck_clean()
}

#[test]
fn a_stopped_client_that_wakes_after_its_term_cannot_write() -> Result<()> {
    let cluster = cluster(false)?;
    let (one, two) = (cluster.mount()?, cluster.mount()?);
    let (mut a, mut b) = (Locker::start(one.path())?, Locker::start(two.path())?);
    a.expect("open f", "ok")?;
    a.expect("write 0 0 before", "ok")?;
    a.expect("fsync 0", "ok")?;
    b.expect("open f", "ok")?;
    a.expect("set 0 write 0 0", "ok")?;
    // Taken, and perhaps not yet sent.
    a.expect("write 0 0 from-a", "ok")?;

    let stopped = Stopped::new(one.daemon())?;
    wait_until_given_up(&cluster, &one)?;
    b.expect("set 0 write 0 0 wait", "ok")?;
    b.expect("write 0 0 from-b", "ok")?;
    b.expect("fsync 0", "ok")?;
    stopped.resume();

    // What was written under a lock that is lost is lost, too, and its program is told.
    a.expect("fsync 0", "EIO")?;
    b.expect("read 0 0 6", "from-b")?;
    let late = a.ask("write 0 0 late-a")?;
    let synced = a.ask("fsync 0")?;
    ensure!(late == "EIO" || synced == "EIO", "a file of before wrote: {late}, and synced: {synced}");
    b.expect("read 0 0 6", "from-b")?;

    // It works on by itself.
    run::wait_until("the client that was given up opens the file", SOON, || Ok(a.ask("open f")? == "ok"))?;
    a.expect("read 1 0 6", "from-b")?;
    a.expect("set 1 write 0 0", "EAGAIN")?;
    b.expect("set 0 unlock 0 0", "ok")?;
    a.expect("set 1 write 0 0 wait", "ok")?;
    a.expect("write 1 0 again", "ok")?;
    a.expect("fsync 1", "ok")?;
    b.expect("read 0 0 6", "againb")?;
    drop((a, b));
    let three = cluster.mount()?;
    ensure!(std::fs::read_to_string(three.join("f"))? == "againb", "a fresh mount sees something else");
    [one, two, three].into_iter().try_for_each(Mount::unmount)?;
    cluster.assert_fsck_clean()
}

#[test]
fn what_was_open_without_a_name_is_gone_with_its_session() -> Result<()> {
    let cluster = cluster(false)?;
    let (one, two) = (cluster.mount()?, cluster.mount()?);
    let (mut a, mut b) = (Locker::start(one.path())?, Locker::start(two.path())?);
    for file in ["removed", "replaced"] {
        a.expect(&format!("open {file}"), "ok")?;
    }
    for descriptor in [0, 1] {
        a.expect(&format!("write {descriptor} 0 old"), "ok")?;
        a.expect(&format!("fsync {descriptor}"), "ok")?;
    }
    let stopped = Stopped::new(one.daemon())?;
    wait_until_given_up(&cluster, &one)?;
    let before = two.inodes()?;
    std::fs::remove_file(two.join("removed"))?;
    b.expect("open new", "ok")?;
    b.expect("write 0 0 new", "ok")?;
    b.expect("fsync 0", "ok")?;
    run::shell(two.path(), "mv new replaced")?;
    // Until then the client would have them open again.
    run::wait_until("both are freed", SOON, || Ok(two.inodes()? + 1 == before))?;
    stopped.resume();
    for descriptor in [0, 1] {
        let mut seen = Vec::new();
        run::wait_until("the file is gone", SOON, || {
            seen.push(a.ask(&format!("read {descriptor} 0 3"))?);
            Ok(seen.last().is_some_and(|last| last == "ESTALE"))
        })
        .with_context(|| format!("reads of descriptor {descriptor}: {seen:?}"))?;
        // What the kernel has of it when the client wakes up.
        ensure!(seen.iter().all(|read| ["old", "ESTALE"].contains(&read.as_str())), "reads: {seen:?}");
    }
    // By its name there is what is there now.
    ensure!(!one.join("removed").exists(), "the removed file is there");
    a.expect("open replaced", "ok")?;
    a.expect("read 2 0 3", "new")?;
    drop((a, b));
    [one, two].into_iter().try_for_each(Mount::unmount)?;
    cluster.assert_fsck_clean()
}

#[test]
fn a_stopped_client_that_wakes_after_its_term_shows_nothing_old() -> Result<()> {
    let cluster = cluster(false)?;
    let (one, two) = (cluster.mount()?, cluster.mount()?);
    let (mut a, mut b) = (Locker::start(one.path())?, Locker::start(two.path())?);
    for locker in [&mut a, &mut b] {
        locker.expect("open f", "ok")?;
    }
    b.expect("write 0 0 old", "ok")?;
    // Kept by the client and by its kernel, names too.
    for _ in 0..3 {
        a.expect("read 0 0 3", "old")?;
        ensure!(one.join("f").exists() && !one.join("g").exists(), "f is there, and g is not");
    }
    let stopped = Stopped::new(one.daemon())?;
    wait_until_given_up(&cluster, &one)?;
    b.expect("write 0 0 new", "ok")?;
    b.expect("fsync 0", "ok")?;
    b.expect("open g", "ok")?;
    stopped.resume();
    // Whether or not the file of before is still good: what it shows is not what was there before.
    a.begin("open f")?;
    let opened = a.answer()?;
    let number = if opened == "ok" { 1 } else { 0 };
    let read = a.ask(&format!("read {number} 0 3"))?;
    ensure!(read == "new" || read == "EIO", "opened ({opened}) after it had woken up, it shows {read}");
    run::wait_until("the client works on", SOON, || Ok(a.ask("open g")? == "ok"))?;
    let read = a.ask("read 0 0 3")?;
    ensure!(read == "new" || read == "EIO", "what was open shows {read}");
    drop((a, b));
    one.unmount()?;
    two.unmount()
}

#[test]
fn a_client_that_is_cut_off_shows_nothing_old() -> Result<()> {
    let cluster = cluster(true)?;
    let host = cluster.host()?;
    let (one, two) = (cluster.mount_on(&host)?, cluster.mount()?);
    let (mut a, mut b) = (Locker::start(one.path())?, Locker::start(two.path())?);
    for locker in [&mut a, &mut b] {
        locker.expect("open f", "ok")?;
    }
    b.expect("write 0 0 old", "ok")?;
    a.expect("read 0 0 3", "old")?;
    let cut = host.cut()?;
    // It waits until nobody may believe the old bytes any more.
    b.expect("write 0 0 new", "ok")?;
    b.expect("fsync 0", "ok")?;
    a.begin("read 0 0 3")?;
    let shown = a.answer_within(Duration::from_secs(2));
    ensure!(shown.as_deref() != Some("old"), "cut off, it shows what was overwritten");
    cut.end();
    if shown.is_none() {
        a.answer().context("a read that waited for the network")?;
    }
    run::wait_until("the client is back", SOON, || {
        let opened = a.ask("open f")?;
        Ok(opened == "ok")
    })?;
    a.expect("read 1 0 3", "new")?;
    drop((a, b));
    one.unmount()?;
    two.unmount()?;
    cluster.assert_fsck_clean()
}

/// Whether a thread of a process waits for pages of the kernel.
fn waits_for_pages(process: u32) -> Result<bool> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        if fs::read_to_string(thread?.path().join("wchan"))?.contains("folio") {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn a_client_that_is_killed_while_it_waits_for_the_kernel_lets_go() -> Result<()> {
    let cluster = cluster(false)?;
    let before = cluster.mount()?;
    fs::write(before.join("f"), vec![1; 1 << 20])?;
    before.unmount()?;
    let (one, two) = (cluster.mount()?, cluster.mount()?);
    // In this order: the kernel keeps no pages of files that others write to.
    let reader = fs::File::open(two.join("f"))?;
    let mut writer = fs::OpenOptions::new().write(true).open(one.join("f"))?;
    let client = two.daemon().pid().as_raw().unsigned_abs();
    let stopped = (0..3).map(|i| Stopped::new(cluster.chunkserver(i)?)).collect::<Result<Vec<_>>>()?;
    // Its pages are locked until it is answered, and the writer has to wait until the kernel of the reader has dropped them.
    let reading = thread::spawn(move || reader.read_at(&mut [0; 4096], 0));
    run::wait_until("the read waits for its pages", SOON, || waits_for_pages(std::process::id()))?;
    let writing = thread::spawn(move || writer.write_all(&[2; 4096]));
    run::wait_until("the reader's client waits for pages", SOON, || waits_for_pages(client))?;
    two.kill()?;
    let read = reading.join().expect("no panic");
    ensure!(read.is_err(), "read {read:?} of a client that was killed");
    stopped.into_iter().for_each(Stopped::resume);
    writing.join().expect("no panic").context("the other one is not disturbed")?;
    one.unmount()?;
    cluster.assert_fsck_clean()
}
