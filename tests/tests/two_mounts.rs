//! Two mounts of one cluster, as far as they agree before there are leases: after the validity of what was learnt, and at open.

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
use std::time::Duration;

use cairn_tests::cluster::Cluster;

const TTL: Duration = Duration::from_millis(100);

/// Mount options by which what was learnt is soon asked for again: see [`TTL`].
const BRIEF: &str = "attr_ttl_ms=100,entry_ttl_ms=100";

#[test]
fn one_sees_what_the_other_did() {
    let cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount_with(BRIEF).unwrap(), cluster.mount_with(BRIEF).unwrap());
    let other = two.path().to_owned();
    one.run(move |root| {
        assert!(!other.join("f").exists());
        fs::write(root.join("f"), "first").unwrap();
        std::thread::sleep(TTL);
        assert_eq!(fs::read_to_string(other.join("f")).unwrap(), "first");
        // Same length, other bytes: only the modification time tells.
        fs::write(root.join("f"), "other").unwrap();
        assert_eq!(fs::read_to_string(other.join("f")).unwrap(), "other", "an open asks");
        fs::rename(other.join("f"), other.join("g")).unwrap();
        std::thread::sleep(TTL);
        assert!(!root.join("f").exists());
        assert_eq!(fs::read_to_string(root.join("g")).unwrap(), "other");
    });
    one.unmount().unwrap();
    two.unmount().unwrap();
}

#[test]
fn an_open_file_follows_what_others_write() {
    let cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount_with(BRIEF).unwrap(), cluster.mount_with(BRIEF).unwrap());
    let other = two.path().to_owned();
    one.run(move |root| {
        fs::write(root.join("f"), vec![1; 10_000]).unwrap();
        std::thread::sleep(TTL);
        let reader = File::open(other.join("f")).unwrap();
        let mut bytes = [0; 100];
        reader.read_exact_at(&mut bytes, 5000).unwrap();
        assert_eq!(bytes, [1; 100]);
        let writer = OpenOptions::new().write(true).open(root.join("f")).unwrap();
        writer.write_all_at(&[2; 100], 5000).unwrap();
        writer.sync_all().unwrap();
        // The reader's kernel is told when its attributes are next asked for.
        std::thread::sleep(TTL);
        reader.metadata().unwrap();
        std::thread::sleep(TTL);
        reader.read_exact_at(&mut bytes, 5000).unwrap();
        assert_eq!(bytes, [2; 100]);
        let mut appender = OpenOptions::new().append(true).open(root.join("f")).unwrap();
        appender.write_all(b"tail").unwrap();
        drop(appender);
        std::thread::sleep(TTL);
        assert_eq!(reader.metadata().unwrap().size(), 10_004);
    });
    one.unmount().unwrap();
    two.unmount().unwrap();
}

#[test]
fn a_file_that_one_removed_lives_while_the_other_has_it_open() {
    let cluster = Cluster::start().unwrap();
    let (one, two) = (cluster.mount_with(BRIEF).unwrap(), cluster.mount_with(BRIEF).unwrap());
    let other = two.path().to_owned();
    one.run(move |root| {
        fs::write(root.join("f"), "kept").unwrap();
        std::thread::sleep(TTL);
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

#[test]
fn a_create_that_comes_second_opens_what_is_there() {
    let cluster = Cluster::start().unwrap();
    // Long enough that the absence is certainly still believed.
    let sure = "attr_ttl_ms=60000,entry_ttl_ms=60000";
    let (one, two) = (cluster.mount_with(sure).unwrap(), cluster.mount_with(sure).unwrap());
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
