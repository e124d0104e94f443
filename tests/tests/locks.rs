//! File locks: each scenario runs first on the local file system, to show that it asks for what Linux does, and then on two mounts.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::locker::Locker;

/// After this a call that has not returned is taken to wait.
const WAITING: Duration = Duration::from_millis(300);
/// Silence after which the metaserver gives a client up, in tests that wait for that.
const TERM: Duration = Duration::from_secs(3);

/// Two processes, each on its own mount, or both in a local directory.
type Scenario = fn(&mut Locker, &mut Locker) -> Result<()>;

fn locally_and_on_two_mounts(scenario: Scenario) {
    let local = tempfile::tempdir().unwrap();
    between(local.path(), local.path(), scenario).unwrap();
    let cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    between(one.path(), two.path(), scenario).unwrap();
    // And in one mount, of which the kernel asks for each process.
    between(one.path(), one.path(), scenario).unwrap();
    one.unmount().unwrap();
    two.unmount().unwrap();
}

fn between(one: &Path, two: &Path, scenario: Scenario) -> Result<()> {
    // The second may see what the first has created a moment later.
    let (mut a, mut b) = (Locker::start(one)?, Locker::start(two)?);
    a.expect("open f", "ok")?;
    b.expect("open f", "ok")?;
    scenario(&mut a, &mut b)
}

fn expect_waiting(locker: &Locker) -> Result<()> {
    let answer = locker.answer_within(WAITING);
    ensure!(answer.is_none(), "it did not wait: {answer:?}");
    Ok(())
}

fn expect_answer(locker: &Locker, answer: &str) -> Result<()> {
    let got = locker.answer()?;
    ensure!(got == answer, "{got}, not {answer}");
    Ok(())
}

#[test]
fn readers_share_and_a_writer_does_not() {
    locally_and_on_two_mounts(|a, b| {
        a.expect("set 0 read 0 100", "ok")?;
        b.expect("set 0 read 50 100", "ok")?;
        b.expect("set 0 write 90 20", "EAGAIN")?;
        b.expect("get 0 write 90 20", "read 0 100")?;
        b.expect("get 0 read 90 20", "free")?;
        b.expect("set 0 write 100 20", "ok")?;
        a.expect("set 0 read 110 1", "EAGAIN")?;
        a.expect("get 0 read 0 200", "write 100 20")?;
        // What one holds oneself is never in the way.
        b.expect("get 0 write 100 20", "free")?;
        a.expect("set 0 unlock 0 100", "ok")?;
        b.expect("set 0 write 0 100", "ok")
    });
}

#[test]
fn ranges_split_join_and_change_their_kind() {
    locally_and_on_two_mounts(|a, b| {
        a.expect("set 0 write 0 100", "ok")?;
        a.expect("set 0 unlock 40 20", "ok")?;
        b.expect("get 0 write 0 0", "write 0 40")?;
        b.expect("get 0 write 40 0", "write 60 40")?;
        b.expect("set 0 write 40 20", "ok")?;
        a.expect("set 0 write 30 20", "EAGAIN")?;
        b.expect("set 0 unlock 0 0", "ok")?;
        a.expect("set 0 write 40 20", "ok")?;
        b.expect("get 0 read 50 1", "write 0 100")?;
        // A part of it is shared from now on.
        a.expect("set 0 read 20 10", "ok")?;
        b.expect("set 0 read 20 10", "ok")?;
        b.expect("get 0 read 0 0", "write 0 20")?;
        a.expect("set 0 write 20 10", "EAGAIN")?;
        b.expect("set 0 unlock 20 10", "ok")?;
        a.expect("set 0 write 20 10", "ok")?;
        // To the end, wherever that is.
        a.expect("set 0 write 1000 0", "ok")?;
        b.expect("set 0 read 4000000000000 1", "EAGAIN")?;
        b.expect("get 0 read 500 0", "write 1000 0")?;
        a.expect("set 0 unlock 2000 0", "ok")?;
        b.expect("set 0 read 2000 1", "ok")
    });
}

#[test]
fn a_process_loses_its_locks_when_it_closes_any_descriptor_of_the_file() {
    locally_and_on_two_mounts(|a, b| {
        a.expect("open f", "ok")?;
        a.expect("set 0 write 0 10", "ok")?;
        b.expect("set 0 write 0 10", "EAGAIN")?;
        a.expect("close 1", "ok")?;
        b.expect("set 0 write 0 10", "ok")
    });
}

#[test]
fn locks_of_open_files_last_as_long_as_those() {
    locally_and_on_two_mounts(|a, b| {
        a.expect("open f", "ok")?;
        a.expect("open f", "ok")?;
        a.expect("ofd 0 write 0 10", "ok")?;
        // Another open file is somebody else, in the same process too; and so is the process itself.
        a.expect("ofd 1 write 5 1", "EAGAIN")?;
        a.expect("set 1 write 5 1", "EAGAIN")?;
        a.expect("close 2", "ok")?;
        b.expect("ofd 0 read 0 10", "EAGAIN")?;
        a.expect("ofd 0 unlock 0 5", "ok")?;
        b.expect("ofd 0 read 0 5", "ok")?;
        a.expect("ofd 1 write 0 5", "EAGAIN")?;
        a.expect("close 0", "ok")?;
        b.begin("ofd 0 write 5 5 wait")?;
        expect_answer(b, "ok")
    });
}

#[test]
fn flock_is_of_the_open_file_and_apart_from_fcntl() {
    locally_and_on_two_mounts(|a, b| {
        a.expect("open f", "ok")?;
        a.expect("flock 0 read", "ok")?;
        b.expect("flock 0 read", "ok")?;
        b.expect("flock 0 write", "EAGAIN")?;
        // A conversion that is refused has let go of what there was.
        a.expect("flock 0 write", "ok")?;
        a.expect("flock 1 read", "EAGAIN")?;
        b.expect("set 0 write 0 0", "ok")?;
        b.expect("set 0 unlock 0 0", "ok")?;
        a.expect("close 1", "ok")?;
        b.expect("flock 0 read", "EAGAIN")?;
        a.expect("close 0", "ok")?;
        // The kernel tells of a last close when `close` has returned.
        b.begin("flock 0 write wait")?;
        expect_answer(b, "ok")?;
        b.expect("flock 0 unlock", "ok")
    });
}

#[test]
fn whoever_waits_gets_it_when_it_is_unlocked_closed_or_its_process_killed() {
    locally_and_on_two_mounts(|a, b| {
        for (take, wait, give_back) in [
            ("set 0 write 0 10", "set 0 read 5 1 wait", "set 0 unlock 0 10"),
            ("flock 0 write", "flock 0 read wait", "flock 0 unlock"),
            ("set 0 write 0 10", "set 0 write 9 5 wait", "set 0 unlock 9 1"),
        ] {
            a.expect(take, "ok")?;
            b.begin(wait)?;
            expect_waiting(b)?;
            a.expect(give_back, "ok")?;
            expect_answer(b, "ok")?;
            b.expect("set 0 unlock 0 0", "ok")?;
            b.expect("flock 0 unlock", "ok")?;
            a.expect("set 0 unlock 0 0", "ok")?;
        }
        a.expect("open f", "ok")?;
        a.expect("set 0 write 0 10", "ok")?;
        b.begin("set 0 write 0 10 wait")?;
        expect_waiting(b)?;
        a.expect("close 1", "ok")?;
        expect_answer(b, "ok")?;
        b.expect("set 0 unlock 0 0", "ok")?;
        a.expect("set 0 write 0 10", "ok")?;
        a.expect("flock 0 write", "ok")?;
        b.begin("set 0 write 0 10 wait")?;
        expect_waiting(b)?;
        a.kill()?;
        expect_answer(b, "ok")?;
        b.expect("flock 0 write wait", "ok")
    });
}

#[test]
fn a_signal_ends_the_wait_and_nothing_is_locked_by_it() {
    locally_and_on_two_mounts(|a, b| {
        for (take, wait, give_back) in [
            ("set 0 write 0 10", "set 0 write 0 10 wait", "set 0 unlock 0 10"),
            ("flock 0 write", "flock 0 write wait", "flock 0 unlock"),
        ] {
            a.expect(take, "ok")?;
            b.begin(wait)?;
            expect_waiting(b)?;
            b.interrupt()?;
            expect_answer(b, "EINTR")?;
            a.expect(give_back, "ok")?;
            // Nobody has it: the one who waited did not get it afterwards.
            a.expect(take, "ok")?;
            a.expect(give_back, "ok")?;
        }
        // What it held before it waited for more, it holds still.
        b.expect("set 0 read 0 10", "ok")?;
        a.expect("set 0 read 0 10", "ok")?;
        b.begin("set 0 write 0 10 wait")?;
        expect_waiting(b)?;
        b.interrupt()?;
        expect_answer(b, "EINTR")?;
        a.expect("set 0 write 0 10", "EAGAIN")?;
        a.expect("get 0 write 0 10", "read 0 10")
    });
}

#[test]
fn waiting_in_a_circle_is_refused() {
    locally_and_on_two_mounts(|a, b| {
        a.expect("set 0 write 0 1", "ok")?;
        b.expect("set 0 write 1 1", "ok")?;
        a.begin("set 0 write 1 1 wait")?;
        expect_waiting(a)?;
        b.expect("set 0 write 0 1 wait", "EDEADLK")?;
        b.expect("set 0 unlock 1 1", "ok")?;
        expect_answer(a, "ok")
    });
}

#[test]
fn what_is_written_under_a_lock_is_seen_under_the_next() {
    locally_and_on_two_mounts(|a, b| {
        a.expect("write 0 0 000000", "ok")?;
        for turn in 0..200 {
            let locker = if turn % 2 == 0 { &mut *a } else { &mut *b };
            let (lock, unlock) = match turn % 4 {
                0 | 1 => ("set 0 write 0 0 wait", "set 0 unlock 0 0"),
                _ => ("flock 0 write wait", "flock 0 unlock"),
            };
            // The file is shared by more than one kind of lock, but by one at a time.
            locker.expect(lock, "ok")?;
            let count: u32 = locker.ask("read 0 0 6")?.parse()?;
            ensure!(count == turn, "turn {turn}: {count}");
            locker.expect(&format!("write 0 0 {:06}", count + 1), "ok")?;
            locker.expect(unlock, "ok")?;
        }
        Ok(())
    });
}

fn cluster() -> Cluster {
    let meta_args = vec!["--set".into(), format!("session_term_s={}", TERM.as_secs())];
    Cluster::with(Options { meta_args, ..Options::default() }).unwrap()
}

#[test]
fn a_killed_client_s_locks_are_free_within_a_term() {
    let cluster = cluster();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    let (mut a, mut b) = (Locker::start(one.path()).unwrap(), Locker::start(two.path()).unwrap());
    for locker in [&mut a, &mut b] {
        locker.expect("open f", "ok").unwrap();
    }
    a.expect("set 0 write 0 10", "ok").unwrap();
    a.expect("flock 0 write", "ok").unwrap();
    one.kill().unwrap();
    let killed = Instant::now();
    b.expect("set 0 write 0 10 wait", "ok").unwrap();
    b.expect("flock 0 write wait", "ok").unwrap();
    // It is looked for eight times in a term.
    assert!(killed.elapsed() <= TERM + TERM / 4, "{:?}", killed.elapsed());
    drop((a, b));
    two.unmount().unwrap();
}

#[test]
fn locks_outlive_a_restart_of_the_metaserver() {
    let mut cluster = cluster();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    let (mut a, mut b) = (Locker::start(one.path()).unwrap(), Locker::start(two.path()).unwrap());
    for locker in [&mut a, &mut b] {
        locker.expect("open f", "ok").unwrap();
    }
    a.expect("set 0 write 0 10", "ok").unwrap();
    a.expect("set 0 read 100 0", "ok").unwrap();
    a.expect("open f", "ok").unwrap();
    a.expect("flock 0 write", "ok").unwrap();
    // One that was lost by a conversion that failed is not claimed.
    b.expect("open g", "ok").unwrap();
    a.expect("open g", "ok").unwrap();
    a.expect("flock 2 read", "ok").unwrap();
    b.expect("flock 1 read", "ok").unwrap();
    a.expect("flock 2 write", "EAGAIN").unwrap();
    b.begin("set 0 write 0 10 wait").unwrap();
    expect_waiting(&b).unwrap();
    cluster.kill_meta().unwrap();
    cluster.start_meta().unwrap();
    expect_waiting(&b).unwrap();
    b.interrupt().unwrap();
    expect_answer(&b, "EINTR").unwrap();
    b.expect("set 0 write 9 1", "EAGAIN").unwrap();
    b.expect("get 0 write 50 0", "read 100 0").unwrap();
    b.expect("flock 0 read", "EAGAIN").unwrap();
    b.expect("flock 1 write", "ok").unwrap();
    a.expect("set 0 unlock 0 0", "ok").unwrap();
    a.expect("flock 0 unlock", "ok").unwrap();
    b.expect("set 0 write 0 0", "ok").unwrap();
    b.expect("flock 0 write", "ok").unwrap();
    drop((a, b));
    one.unmount().unwrap();
    two.unmount().unwrap();
}
