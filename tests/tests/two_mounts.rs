//! Two mounts of one cluster see each other's doings at once.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests, and of the file system's own rename"
)]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::locker::Locker;
use cairn_tests::mount::Mount;
use cairn_tests::run;

#[test]
fn one_sees_what_the_other_did() {
    let cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    let other = two.path().to_owned();
    one.run(move |root| {
        assert!(!other.join("f").exists());
        fs::write(root.join("f"), "first").unwrap();
        assert_eq!(fs::read_to_string(other.join("f")).unwrap(), "first");
        // Same length, other bytes: only the modification time tells.
        fs::write(root.join("f"), "other").unwrap();
        assert_eq!(fs::read_to_string(other.join("f")).unwrap(), "other");
        fs::rename(other.join("f"), other.join("g")).unwrap();
        assert!(!root.join("f").exists());
        assert_eq!(fs::read_to_string(root.join("g")).unwrap(), "other");
    });
    one.unmount().unwrap();
    two.unmount().unwrap();
}

#[test]
fn a_name_that_was_moved_leads_to_what_others_made_of_it() {
    let cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    let other = two.path().to_owned();
    one.run(move |root| {
        for n in 0..20 {
            let (from, to) = (format!("from{n}"), format!("to{n}"));
            fs::create_dir(root.join(&from)).unwrap();
            fs::create_dir(root.join(&to)).unwrap();
            // What is in `to` is looked up anew for a while, as the other one changes it; what is in `from` is remembered.
            assert!(!root.join(&to).join("f").exists());
            fs::write(other.join(&to).join("f"), "first").unwrap();
            assert_eq!(fs::read_to_string(root.join(&to).join("f")).unwrap(), "first");
            fs::write(root.join(&from).join("f"), "second").unwrap();
            assert_eq!(fs::read_to_string(root.join(&from).join("f")).unwrap(), "second");
            fs::rename(root.join(&from).join("f"), root.join(&to).join("f")).unwrap();
            fs::write(other.join(&to).join("g"), "third").unwrap();
            fs::rename(other.join(&to).join("g"), other.join(&to).join("f")).unwrap();
            assert_eq!(fs::read_to_string(root.join(&to).join("f")).unwrap(), "third", "round {n}");
            fs::remove_file(other.join(&to).join("f")).unwrap();
            assert!(!root.join(&to).join("f").exists(), "round {n}");
        }
    });
    one.unmount().unwrap();
    two.unmount().unwrap();
}

#[test]
fn an_open_file_follows_what_others_write() {
    let cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    let other = two.path().to_owned();
    one.run(move |root| {
        fs::write(root.join("f"), vec![1; 10_000]).unwrap();
        let reader = File::open(other.join("f")).unwrap();
        let mut bytes = [0; 100];
        reader.read_exact_at(&mut bytes, 5000).unwrap();
        assert_eq!(bytes, [1; 100]);
        let writer = OpenOptions::new().write(true).open(root.join("f")).unwrap();
        writer.write_all_at(&[2; 100], 5000).unwrap();
        writer.sync_all().unwrap();
        reader.read_exact_at(&mut bytes, 5000).unwrap();
        assert_eq!(bytes, [2; 100]);
        let mut appender = OpenOptions::new().append(true).open(root.join("f")).unwrap();
        appender.write_all(b"tail").unwrap();
        drop(appender);
        assert_eq!(reader.metadata().unwrap().size(), 10_004);
    });
    one.unmount().unwrap();
    two.unmount().unwrap();
}

#[test]
fn a_file_that_one_removed_lives_while_the_other_has_it_open() {
    let cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    let other = two.path().to_owned();
    one.run(move |root| {
        fs::write(root.join("f"), "kept").unwrap();
        let reader = File::open(other.join("f")).unwrap();
        fs::remove_file(root.join("f")).unwrap();
        std::thread::sleep(Duration::from_secs(3)); // the metaserver has had the time to free it
        let mut bytes = [0; 4];
        reader.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"kept");
        assert_eq!(reader.metadata().unwrap().nlink(), 0);
    });
    one.unmount().unwrap();
    two.unmount().unwrap();
}

/// The lease that comes with a first look may be taken back before the kernel has entered what was seen.
#[test]
fn a_first_look_during_a_change_is_right_after_it() {
    let cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    let other = two.path().to_owned();
    one.run(move |root| {
        for round in 0..3000 {
            let name = format!("d{round}");
            fs::create_dir(other.join(&name)).unwrap();
            let both = Barrier::new(2);
            let looked = std::thread::scope(|scope| {
                let looking = scope.spawn(|| {
                    both.wait();
                    File::open(root.join(&name))
                });
                both.wait();
                fs::set_permissions(other.join(&name), PermissionsExt::from_mode(0o700)).unwrap();
                fs::remove_dir(other.join(&name)).unwrap();
                looking.join().unwrap()
            });
            if let Ok(opened) = looked {
                let (nlink, mode) = (opened.metadata().unwrap().nlink(), opened.metadata().unwrap().mode() & 0o777);
                assert_eq!((nlink, mode), (0, 0o700), "round {round}");
            }
        }
    });
    one.unmount().unwrap();
    two.unmount().unwrap();
}

#[test]
fn a_directory_that_one_removed_is_as_it_left_it_where_the_other_has_it_open() -> Result<()> {
    let cluster = Cluster::start()?;
    let (one, two) = (cluster.mount()?, cluster.mount()?);
    fs::create_dir(two.join("d"))?;
    let before = two.inodes()?;
    let opened = File::open(one.join("d"))?;
    fs::set_permissions(two.join("d"), PermissionsExt::from_mode(0o700))?;
    fs::remove_dir(two.join("d"))?;
    // What is freed after it is gone.
    File::create(two.join("f"))?;
    fs::remove_file(two.join("f"))?;
    run::wait_until("what was removed is freed", Duration::from_secs(20), || Ok(two.inodes()? == before))?;
    let found = opened.metadata()?;
    ensure!((found.nlink(), found.mode() & 0o777) == (0, 0o700), "{found:?}");
    drop(opened);
    run::wait_until("the directory is freed", Duration::from_secs(20), || Ok(two.inodes()? == before - 1))?;
    one.unmount()?;
    two.unmount()
}

/// Waits until mounts ask the metaserver for nothing any more by themselves.
fn settle(cluster: &Cluster) {
    let quiet = || {
        let wait = || {
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        };
        cluster.requests_during(wait).unwrap().0.is_empty()
    };
    assert!((0..100).any(|_| quiet()), "the mounts do not come to rest");
}

#[test]
fn what_is_leased_is_asked_for_once() {
    const FILES: u32 = 10_000;
    let mut cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    one.run(|root| {
        fs::create_dir(root.join("d")).unwrap();
        for n in 0..FILES {
            fs::write(root.join(format!("d/{n}")), "").unwrap();
        }
        fs::write(root.join("large"), vec![7; 3 << 20]).unwrap();
    });
    let dir = two.path().join("d");
    let look = || (0..FILES).all(|n| fs::metadata(dir.join(n.to_string())).is_ok_and(|found| found.is_file()));
    let read = || fs::read(two.path().join("large")).unwrap() == vec![7; 3 << 20];
    assert!(look() && read());
    settle(&cluster);
    let (asked, same) = cluster.requests_during(|| Ok(look())).unwrap();
    assert!(same && asked.is_empty(), "{asked:?}");
    // Opening is registered; the bytes are here.
    for i in 0..3 {
        cluster.kill_chunkserver(i).unwrap();
    }
    assert!(read(), "without chunkservers");
    for i in 0..3 {
        cluster.start_chunkserver(i).unwrap();
    }
    one.unmount().unwrap();
    two.unmount().unwrap();
}

#[test]
fn what_is_open_is_remembered_over_a_restart_of_the_metaserver() {
    const SIZE: usize = 1 << 20;
    let mut cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    let writer = File::options().read(true).write(true).create(true).truncate(true).open(one.join("f")).unwrap();
    writer.write_all_at(&[1; SIZE], 0).unwrap();
    writer.sync_all().unwrap();
    let reader = File::open(two.join("f")).unwrap();
    let read = |byte: u8| {
        let mut bytes = vec![0; SIZE];
        reader.read_exact_at(&mut bytes, 0).is_ok() && bytes == vec![byte; SIZE]
    };
    assert!(read(1));
    settle(&cluster);
    cluster.kill_meta().unwrap();
    cluster.start_meta().unwrap();
    run::wait_until("both mounts have said what they have", Duration::from_secs(30), || {
        Ok(cluster.requests()?.get("MetaService.dropped_the_rest") == Some(&2))
    })
    .unwrap();
    cluster.wait_healthy().unwrap();
    let (asked, same) = cluster.requests_during(|| Ok(read(1))).unwrap();
    assert!(same && asked.is_empty(), "{asked:?}");
    writer.write_all_at(&[2; SIZE], 0).unwrap();
    assert!(read(2), "what was kept is taken back as ever");
    drop((writer, reader));
    one.unmount().unwrap();
    two.unmount().unwrap();
}

/// A metaserver that has room for few leases asks for them back, and mounts that can remember little are right all the same.
#[test]
fn there_may_be_more_files_than_leases() {
    const FILES: u32 = 4_000;
    let meta_args = vec!["--set".into(), "max_leases=1024".into()];
    let cluster = Cluster::with(Options { meta_args, ..Options::default() }).unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    for n in 0..FILES {
        fs::write(one.join(&n.to_string()), n.to_string()).unwrap();
    }
    let check = |add: &str| {
        let is_right = |n: u32| fs::read_to_string(two.join(&n.to_string())).unwrap() == format!("{n}{add}");
        assert!((0..FILES).all(is_right));
    };
    check("");
    for n in (0..FILES).step_by(2) {
        OpenOptions::new().append(true).open(two.join(&n.to_string())).unwrap().write_all(b"!").unwrap();
    }
    for n in (1..FILES).step_by(2) {
        OpenOptions::new().append(true).open(one.join(&n.to_string())).unwrap().write_all(b"!").unwrap();
    }
    check("!");
    one.unmount().unwrap();
    two.unmount().unwrap();
}

#[test]
fn a_create_that_comes_second_opens_what_is_there() {
    let cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    let other = two.path().to_owned();
    one.run(move |root| {
        fs::set_permissions(&other, fs::Permissions::from_mode(0o777)).unwrap();
        for name in ["f", "g", "secret"] {
            assert!(!other.join(name).exists());
            fs::write(root.join(name), "there").unwrap();
        }
        let create =
            |name: &str| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(other.join(name));
        let mut text = [0; 5];
        create("f").unwrap().read_exact_at(&mut text, 0).unwrap();
        assert_eq!(&text, b"there");
        let exclusive = OpenOptions::new().write(true).create_new(true).open(other.join("g"));
        assert_eq!(exclusive.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        // Nor is it a way around permissions.
        fs::set_permissions(root.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut as_nobody = Command::new("sh");
        as_nobody.args(["-c", ": >> secret"]).current_dir(&other).uid(65_534).gid(65_534).stderr(Stdio::null());
        assert!(!as_nobody.status().unwrap().success());
    });
    one.unmount().unwrap();
    two.unmount().unwrap();
}

/// Has a program open `files` in this order.
fn program(mount: &Mount, files: [&str; 2]) -> Result<Locker> {
    let mut program = Locker::start(mount.path())?;
    for file in files {
        program.expect(&format!("open {file}"), "ok")?;
    }
    Ok(program)
}

/// Each mount has one of two files in its kernel's pages, and both write to both of them all the time. Dropping pages waits for writes, and
/// writes wait for the other mount to drop its pages: never in a circle, and nobody much longer than the others.
#[test]
fn mounts_that_take_turns_at_two_files_all_have_theirs() -> Result<()> {
    const TIME: Duration = Duration::from_secs(15);
    let cluster = Cluster::start()?;
    let mounts = [cluster.mount()?, cluster.mount()?];
    // Who opens a file first writes to it through the kernel's pages.
    let mut firsts = Vec::new();
    for (mount, file) in mounts.iter().zip(["first", "second"]) {
        let mut first = Locker::start(mount.path())?;
        first.expect(&format!("open {file}"), "ok")?;
        firsts.push(first);
    }
    let began = Instant::now();
    thread::scope(|scope| {
        let work = |n: usize| {
            let mount = &mounts[n % 2];
            scope.spawn(move || -> Result<usize> {
                let mut program = program(mount, ["first", "second"])?;
                let mut calls = 0;
                while began.elapsed() < TIME {
                    let (file, at) = ((calls + n / 2) % 2, 5 * ((calls * 7 + n) % 40));
                    match (calls / 2 + n) % 3 {
                        0 => program.expect(&format!("write {file} {at} text{n}"), "ok")?,
                        // What is read is remembered, and has to be dropped.
                        _ => {
                            let read = program.ask(&format!("read {file} {at} 5"))?;
                            ensure!(!read.starts_with('E'), "{read}");
                        }
                    }
                    calls += 1;
                }
                Ok(calls)
            })
        };
        let programs: Vec<_> = (0..8).map(work).collect();
        let write_pages = |first| {
            scope.spawn(move || -> Result<usize> {
                let first: &mut Locker = first;
                for calls in 0.. {
                    if began.elapsed() >= TIME {
                        return Ok(calls);
                    }
                    first.expect(&format!("write 0 {} first", calls % 150), "ok")?;
                }
                unreachable!("counted to the end")
            })
        };
        let firsts = firsts.iter_mut().map(write_pages).collect::<Vec<_>>();
        for first in firsts {
            ensure!(first.join().expect("it does not panic")? > 0, "a program wrote nothing");
        }
        let calls = programs.into_iter().map(|program| program.join().expect("it does not panic"));
        let calls = calls.collect::<Result<Vec<_>>>()?;
        let (least, most) = (calls.iter().min(), calls.iter().max());
        ensure!(least.zip(most).is_some_and(|(least, most)| least * 20 > *most), "they made {calls:?} calls");
        Ok(())
    })?;
    drop(firsts);
    mounts.into_iter().try_for_each(Mount::unmount)
}
