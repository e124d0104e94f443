//! Two mounts of one cluster, as far as they agree before there are leases: after the validity of what was learnt, and at open.

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use cairn_client::ClientConfig;
use common::Cluster;

const TTL: Duration = Duration::from_millis(100);

fn brief() -> ClientConfig {
    let ttl = TTL.as_millis() as u64;
    ClientConfig { attr_ttl_ms: ttl, entry_ttl_ms: ttl, ..ClientConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sees_what_the_other_did() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.mount_with(brief()).await, cluster.mount_with(brief()).await);
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
    })
    .await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_file_follows_what_others_write() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.mount_with(brief()).await, cluster.mount_with(brief()).await);
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
    })
    .await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_one_removed_lives_while_the_other_has_it_open() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.mount_with(brief()).await, cluster.mount_with(brief()).await);
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
    })
    .await;
    one.stop().await;
    two.stop().await;
}
