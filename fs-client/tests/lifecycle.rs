//! Mounting, unmounting, and what happens while servers are away.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests, and of the file system's own rename"
)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::Duration;

use cairn_client::mount::{MountError, UnmountMode, run, unmount};
use cairn_client::{ClientConfig, Mount, MountConfig};
use common::{Cluster, Mountpoint, within};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

async fn refused(cluster: &Cluster, mountpoint: &std::path::Path) -> MountError {
    let config = MountConfig {
        metaserver: cluster.endpoint().clone(),
        mountpoint: mountpoint.to_owned(),
        client: ClientConfig { start_timeout_ms: 100, ..ClientConfig::default() },
    };
    Mount::start(config).await.map(drop).unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_cannot_be_says_why() {
    let mut cluster = Cluster::start().await;
    let place = Mountpoint::new();
    let missing = place.path.join("missing");
    assert!(matches!(refused(&cluster, &missing).await, MountError::NoMountpoint(path) if path == missing));
    assert!(matches!(refused(&cluster, "/proc/self/status".as_ref()).await, MountError::NotADirectory(_)));
    let mounted = cluster.mount().await;
    assert!(matches!(refused(&cluster, mounted.path()).await, MountError::AlreadyMounted { .. }));
    mounted.stop().await;
    cluster.stop_metaserver().await;
    let unreachable = refused(&cluster, &place.path).await.to_string();
    assert_eq!(unreachable, format!("metaserver {} cannot be reached", cluster.endpoint()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mount_table_names_the_cluster() {
    let cluster = Cluster::start().await;
    let mounted = cluster.mount().await;
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let line = table.lines().find(|line| line.contains(mounted.path().to_str().unwrap())).unwrap();
    assert!(line.starts_with(&format!("cairn\\043{} ", cluster.endpoint())), "{line}");
    assert!(line.contains(" fuse.cairn "), "{line}");
    mounted.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unmounting_from_outside_ends_it_in_good_order() {
    let cluster = Cluster::start().await;
    let place = Mountpoint::new();
    let config = MountConfig {
        metaserver: cluster.endpoint().clone(),
        mountpoint: place.path.clone(),
        client: ClientConfig::default(),
    };
    let (told, ready) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(run(config, CancellationToken::new(), |_| told.send(()).unwrap()));
    ready.await.unwrap();
    let path = place.path.clone();
    tokio::task::spawn_blocking(move || {
        fs::write(path.join("f"), "text").unwrap();
        unmount(&path, UnmountMode::Normal).unwrap();
    })
    .await
    .unwrap();
    within(running).await.unwrap().unwrap();
    let again = cluster.mount().await;
    again.run(|root| assert_eq!(fs::read_to_string(root.join("f")).unwrap(), "text")).await;
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_in_use_is_taken_away_and_nothing_is_lost() {
    let cluster = Cluster::start().await;
    let mounted = cluster.mount().await;
    let file = mounted
        .run(|root| {
            let mut file = File::create(root.join("f")).unwrap();
            file.write_all(b"never closed").unwrap();
            file
        })
        .await;
    let path = mounted.path().to_owned();
    within(mounted.stop()).await;
    assert!(!fs::read_to_string("/proc/mounts").unwrap().contains(path.to_str().unwrap()));
    let after = tokio::task::spawn_blocking(move || file.write_at(b"x", 0)).await.unwrap();
    assert!(after.is_err(), "the file was taken away");
    let again = cluster.mount().await;
    again.run(|root| assert_eq!(fs::read_to_string(root.join("f")).unwrap(), "never closed")).await;
    again.stop().await;
}

/// A program of its own, as users run them: this process must not hold files of the mount while it starts servers, which fork.
const PROGRAM: &str = r#"
    exec 3<>f && printf before >&3 && rm f && echo ready && read go &&
    mkdir d && printf ' and after' >&3 && cat /proc/self/fd/3 && echo && ls
"#;

#[tokio::test(flavor = "multi_thread")]
async fn programs_wait_for_a_metaserver_that_restarts() {
    let mut cluster = Cluster::start().await;
    let mounted = cluster.mount().await;
    let mut program = Command::new("sh")
        .args(["-c", PROGRAM])
        .current_dir(mounted.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut go = program.stdin.take().unwrap();
    let mut says = BufReader::new(program.stdout.take().unwrap()).lines();
    assert_eq!(within(says.next_line()).await.unwrap().unwrap(), "ready");
    cluster.stop_metaserver().await;
    go.write_all(b"go\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), says.next_line()).await;
    assert!(early.is_err(), "it waits");
    cluster.restart_metaserver().await;
    assert_eq!(within(says.next_line()).await.unwrap().unwrap(), "before and after", "unlinked, open, and still there");
    assert_eq!(within(says.next_line()).await.unwrap().unwrap(), "d");
    assert!(within(program.wait()).await.unwrap().success());
    within(mounted.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unmounting_works_while_the_metaserver_is_away() {
    let mut cluster = Cluster::start().await;
    let impatient = ClientConfig { stop_timeout_ms: 1000, ..ClientConfig::default() };
    let mounted = cluster.mount_with(impatient).await;
    mounted.run(|root| fs::create_dir(root.join("d")).unwrap()).await;
    cluster.stop_metaserver().await;
    let path = mounted.path().to_owned();
    let stuck = tokio::task::spawn_blocking(move || fs::create_dir(path.join("e")));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!stuck.is_finished());
    within(mounted.stop()).await;
    assert!(within(stuck).await.unwrap().is_err(), "the call that waited was ended");
}
