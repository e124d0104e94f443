//! What a mount does by itself in directories that only it uses: others see it as soon as they look, and faults lose nothing of it
//! that may not be lost.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests, and of the file system's own rename"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::locker::Locker;
use cairn_tests::run;
use nix::libc;
use nix::sys::signal::Signal;

/// Files made in one directory: enough that it is delegated before the last of them.
const FILES: usize = 60;
/// More than a metaserver that is not asked needs to answer, less than any term.
const SOON: Duration = Duration::from_secs(8);

fn content(round: usize, file: usize) -> String {
    format!("file {file} of round {round}")
}

/// Uses `dir` until it is delegated: until much is done in it in a time in which the metaserver could not be asked so often.
fn make_delegated(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for i in 0..20 {
        fs::write(dir.join(format!("warm{i}")), "x").unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let start = Instant::now();
        (0..200).for_each(|i| {
            fs::rename(dir.join("warm0"), dir.join("w"))
                .and(fs::rename(dir.join("w"), dir.join("warm0")))
                .unwrap_or_else(|e| panic!("{i}: {e}"))
        });
        if start.elapsed() < Duration::from_millis(60) {
            return;
        }
        assert!(Instant::now() < deadline, "{} is not delegated", dir.display());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn what_one_did_by_itself_the_other_sees_as_soon_as_it_looks() {
    let cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    for round in 0..12 {
        let (here, there) = (one.join(&format!("d{round}")), two.join(&format!("d{round}")));
        fs::create_dir(&here).unwrap();
        for i in 0..FILES {
            fs::write(here.join(format!("f{i}")), content(round, i)).unwrap();
        }
        for i in 0..FILES / 3 {
            fs::rename(here.join(format!("f{i}")), here.join(format!("moved{i}"))).unwrap();
        }
        for i in FILES / 3..FILES / 2 {
            fs::remove_file(here.join(format!("f{i}"))).unwrap();
        }
        fs::set_permissions(here.join("f59"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("f58", here.join("link")).unwrap();
        fs::create_dir_all(here.join("a/b/c")).unwrap();
        fs::write(here.join("a/b/c/deep"), "down here").unwrap();

        for i in 0..FILES / 3 {
            let text = fs::read_to_string(there.join(format!("moved{i}")));
            assert_eq!(text.unwrap_or_else(|error| panic!("moved{i} of round {round}: {error}")), content(round, i));
            assert!(!there.join(format!("f{i}")).exists());
        }
        for i in FILES / 3..FILES / 2 {
            assert!(!there.join(format!("f{i}")).exists());
        }
        for i in FILES / 2..FILES {
            assert_eq!(fs::read_to_string(there.join(format!("f{i}"))).unwrap(), content(round, i));
        }
        assert_eq!(there.join("f59").metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_link(there.join("link")).unwrap(), Path::new("f58"));
        assert_eq!(fs::read_to_string(there.join("a/b/c/deep")).unwrap(), "down here");
        assert_eq!(fs::read_dir(&there).unwrap().count(), FILES - FILES / 2 + FILES / 3 + 2);
        // And the other way round, in what was the first one's.
        fs::write(there.join("answer"), "seen").unwrap();
        assert_eq!(fs::read_to_string(here.join("answer")).unwrap(), "seen");
    }
    one.unmount().unwrap();
    two.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn two_that_work_in_one_directory_lose_nothing() {
    let cluster = Cluster::start().unwrap();
    let mounts = [cluster.mount().unwrap(), cluster.mount().unwrap()];
    fs::create_dir(mounts[0].join("d")).unwrap();
    std::thread::scope(|scope| {
        for (who, mount) in mounts.iter().enumerate() {
            let dir = mount.join("d");
            scope.spawn(move || {
                for i in 0..400 {
                    let (made, moved) = (dir.join(format!("new{who}-{i}")), dir.join(format!("{who}-{i}")));
                    fs::write(&made, content(who, i)).unwrap();
                    fs::rename(&made, &moved).unwrap();
                    if i % 4 == 0 {
                        fs::remove_file(&moved).unwrap();
                    }
                }
            });
        }
    });
    std::thread::sleep(Duration::from_secs(1)); // for which names may be believed that the other one has changed since
    for mount in &mounts {
        for who in 0..2 {
            for i in 0..400 {
                let path = mount.join("d").join(format!("{who}-{i}"));
                match i % 4 {
                    0 => assert!(!path.exists(), "{}", path.display()),
                    _ => assert_eq!(fs::read_to_string(&path).unwrap(), content(who, i)),
                }
            }
        }
        assert_eq!(fs::read_dir(mount.join("d")).unwrap().count(), 600);
    }
    let [one, two] = mounts;
    one.unmount().unwrap();
    two.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn a_metaserver_that_is_killed_costs_nothing_that_was_done_ahead_of_it() {
    let mut cluster = Cluster::start().unwrap();
    let mount = cluster.mount().unwrap();
    let dir = mount.join("d");
    make_delegated(&dir);
    for round in 0..4 {
        for i in 0..FILES {
            fs::write(dir.join(format!("{round}-{i}")), content(round, i)).unwrap();
        }
        cluster.kill_meta().unwrap();
        for i in 0..FILES {
            fs::rename(dir.join(format!("{round}-{i}")), dir.join(format!("kept{round}-{i}"))).unwrap();
        }
        cluster.start_meta().unwrap();
    }
    mount.unmount().unwrap();
    let mount = cluster.mount().unwrap();
    for round in 0..4 {
        for i in 0..FILES {
            let path = mount.join("d").join(format!("kept{round}-{i}"));
            assert_eq!(fs::read_to_string(path).unwrap(), content(round, i));
        }
    }
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn what_was_synced_outlives_the_client_and_the_rest_leaves_no_damage() {
    let cluster = Cluster::start().unwrap();
    let mount = cluster.mount().unwrap();
    let dir = mount.join("d");
    make_delegated(&dir);
    for i in 0..FILES {
        let mut file = File::create(dir.join(format!("synced{i}"))).unwrap();
        file.write_all(content(0, i).as_bytes()).unwrap();
        file.sync_all().unwrap();
        fs::rename(dir.join(format!("synced{i}")), dir.join(format!("f{i}"))).unwrap();
    }
    File::open(&dir).unwrap().sync_all().unwrap();
    for i in 0..FILES {
        fs::write(dir.join(format!("unsynced{i}")), content(1, i)).unwrap();
    }
    mount.kill().unwrap();
    let mount = cluster.mount().unwrap();
    for i in 0..FILES {
        assert_eq!(fs::read_to_string(mount.join("d").join(format!("f{i}"))).unwrap(), content(0, i));
        // There or not; and if so, with its bytes, or none yet.
        let unsynced = fs::read_to_string(mount.join("d").join(format!("unsynced{i}")));
        assert!(unsynced.is_err() || unsynced.is_ok_and(|text| text.is_empty() || text == content(1, i)));
    }
    mount.unmount().unwrap();
    cluster.wait_settled(Duration::from_secs(60)).unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn cairn_sync_brings_all_of_it_to_disk() {
    let cluster = Cluster::start().unwrap();
    let mount = cluster.mount().unwrap();
    let dir = mount.join("d");
    make_delegated(&dir);
    for i in 0..FILES {
        fs::write(dir.join(format!("f{i}")), content(0, i)).unwrap();
    }
    run::check(Command::new(cairn_tests::binaries::cairn()).arg("sync").arg(&dir)).unwrap();
    mount.kill().unwrap();
    let mount = cluster.mount().unwrap();
    for i in 0..FILES {
        assert_eq!(fs::read_to_string(mount.join("d").join(format!("f{i}"))).unwrap(), content(0, i));
    }
    mount.unmount().unwrap();
    let elsewhere = run::output(Command::new(cairn_tests::binaries::cairn()).arg("sync").arg(cluster.dir())).unwrap();
    assert!(!elsewhere.status.success());
    assert!(run::printed(&elsewhere).contains("not a file or directory on a CairnFS mount"));
}

#[test]
fn who_does_not_answer_loses_the_directory_with_its_session() {
    let options = Options { meta_args: vec!["--set".into(), "session_term_s=3".into()], ..Options::default() };
    let cluster = Cluster::with(options).unwrap();
    let (one, two) = (cluster.mount().unwrap(), cluster.mount().unwrap());
    let dir = one.join("d");
    make_delegated(&dir);
    let mut synced = File::create(dir.join("synced")).unwrap();
    synced.write_all(b"kept").unwrap();
    synced.sync_all().unwrap();
    drop(synced);
    one.daemon().signal(Signal::SIGSTOP).unwrap();
    let start = Instant::now();
    assert_eq!(fs::read_to_string(two.join("d/synced")).unwrap(), "kept");
    fs::write(two.join("d/theirs"), "new").unwrap();
    assert!(start.elapsed() < SOON, "waited {:?} for a term of 3 s", start.elapsed());
    one.daemon().signal(Signal::SIGCONT).unwrap();
    // It finds a new session, and what the other one did meanwhile.
    run::wait_until("the first mount sees what the second did", Duration::from_secs(20), || {
        Ok(fs::read_to_string(dir.join("theirs")).is_ok_and(|text| text == "new"))
    })
    .unwrap();
    fs::write(dir.join("again"), "ours").unwrap();
    assert_eq!(fs::read_to_string(two.join("d/again")).unwrap(), "ours");
    one.unmount().unwrap();
    two.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn who_syncs_what_is_lost_is_told_so() {
    let meta_args = vec!["--set".into(), "session_term_s=3".into()];
    let cluster = Cluster::with(Options { meta_args, network: true, ..Options::default() }).unwrap();
    let host = cluster.host().unwrap();
    let (one, two) = (cluster.mount_on(&host).unwrap(), cluster.mount().unwrap());
    let dir = one.join("d");
    make_delegated(&dir);
    let sync_mount = || run::output(Command::new(cairn_tests::binaries::cairn()).arg("sync").arg(&dir)).unwrap();
    // A process of its own: this one closes files where it starts others, and that may have to wait for the network.
    let mut program = Locker::start(&dir).unwrap();
    // Where all of this stands still for a term, the change is made by the metaserver, and nothing is lost.
    let lost_one = (0..5).any(|round| {
        let [before, file, after] = [0, 1, 2].map(|n| format!("fsync {}", 3 * round + n));
        program.expect("opendir .", "ok").unwrap();
        program.expect(&before, "ok").unwrap();
        assert!(sync_mount().status.success());
        let cut = host.cut().unwrap();
        program.begin(&format!("open new{round}")).unwrap();
        fs::write(two.join("d").join(format!("theirs{round}")), "others are let in after a term").unwrap();
        cut.end();
        assert_eq!(program.answer().unwrap(), "ok");
        let synced = [&file, &before, &before].map(|line| program.ask(line).unwrap());
        program.expect("opendir .", "ok").unwrap();
        program.expect(&after, "ok").unwrap();
        let whole = sync_mount();
        let is_there = two.join("d").join(format!("new{round}")).exists();
        let told = if is_there { "ok" } else { "EIO" };
        assert_eq!(synced, [told, told, "ok"], "there: {is_there}");
        assert_eq!(whole.status.success(), is_there, "{}", run::printed(&whole));
        assert!(is_there || run::printed(&whole).contains("not everything could be made durable"), "{whole:?}");
        fs::write(dir.join("again"), "it works on").unwrap();
        program.expect(&before, "ok").unwrap();
        assert!(sync_mount().status.success());
        !is_there
    });
    assert!(lost_one, "nothing was ever lost");
    drop(program);
    one.unmount().unwrap();
    two.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn administrators_see_what_mounts_see() {
    let cluster = Cluster::start().unwrap();
    let mount = cluster.mount().unwrap();
    let dir = mount.join("d");
    make_delegated(&dir);
    fs::write(dir.join("f"), "text").unwrap();
    let info = cluster.cairn_json(&["info", "/d/f"]).unwrap();
    assert_eq!((&info["path"], &info["size"]), (&"/d/f".into(), &4.into()));
    fs::rename(dir.join("f"), dir.join("g")).unwrap();
    assert_eq!(cluster.cairn_json(&["info", "/d/g"]).unwrap()["path"], "/d/g");
    let set = cluster.cairn(&["policy", "set", "/d", "--copies", "3"]).unwrap();
    assert!(set.status.success(), "{}", run::printed(&set));
    fs::write(dir.join("h"), "text").unwrap();
    assert_eq!(cluster.cairn_json(&["info", "/d/h"]).unwrap()["policy"]["copies"], 3);
    mount.unmount().unwrap();
}

#[test]
fn a_file_that_was_opened_here_outlives_its_name_whoever_removes_it() {
    let cluster = Cluster::start().unwrap();
    // Too little to keep the file's bytes: they have to come from the chunkservers.
    let (one, two) = (cluster.mount_with("cache_mib=1").unwrap(), cluster.mount().unwrap());
    let dir = one.join("d");
    let bytes = cairn_tests::pattern::bytes(3, 8 << 20);
    make_delegated(&dir);
    for name in ["ours", "theirs"] {
        fs::write(dir.join(name), &bytes).unwrap();
        run::check(Command::new(cairn_tests::binaries::cairn()).arg("sync").arg(&dir)).unwrap();
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(dir.join(name)).unwrap();
        match name {
            "ours" => fs::remove_file(dir.join(name)).unwrap(),
            _ => fs::remove_file(two.join("d").join(name)).unwrap(),
        }
        std::thread::sleep(Duration::from_secs(3)); // the metaserver has had the time to free it
        let mut got = vec![0; bytes.len()];
        (&opened).read_exact(&mut got).unwrap();
        assert!(got == bytes, "{name}");
    }
    one.unmount().unwrap();
    two.unmount().unwrap();
    cluster.wait_settled(Duration::from_secs(60)).unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn a_file_that_was_replaced_has_its_old_bytes_or_its_new_ones() {
    let cluster = Cluster::start().unwrap();
    let mount = cluster.mount().unwrap();
    let dir = mount.join("d");
    make_delegated(&dir);
    let (old, new) = ("old bytes".repeat(100), "new bytes".repeat(150));
    for i in 0..FILES {
        fs::write(dir.join(format!("f{i}")), &old).unwrap();
    }
    run::check(Command::new(cairn_tests::binaries::cairn()).arg("sync").arg(&dir)).unwrap();
    for i in 0..FILES {
        let path = dir.join(format!("f{i}"));
        if i % 2 == 0 {
            fs::write(dir.join("new"), &new).unwrap();
            fs::rename(dir.join("new"), path).unwrap();
        } else {
            fs::write(path, &new).unwrap();
        }
    }
    // Names are sent before bytes are: long enough for the ones, and not for the others.
    std::thread::sleep(Duration::from_millis(700));
    mount.kill().unwrap();
    let mount = cluster.mount().unwrap();
    for i in 0..FILES {
        let text = fs::read_to_string(mount.join("d").join(format!("f{i}"))).unwrap();
        assert!(text == old || text == new, "f{i} has {} bytes of neither", text.len());
    }
    mount.unmount().unwrap();
}
