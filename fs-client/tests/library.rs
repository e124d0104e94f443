//! The file system without a kernel above it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests, and of the file system's own rename"
)]

mod common;

use std::ffi::OsStr;

use bytes::Bytes;
use cairn_client::vfs::{Caller, Lookup, NewInode, WriteHow};
use cairn_client::{Client, ClientConfig};
use cairn_proto::ids::InodeId;
use cairn_proto::meta::NewNode;
use common::Cluster;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn files_through_the_library() {
    let cluster = Cluster::start().await;
    let client = Client::start(cluster.endpoint().clone(), &ClientConfig::default(), "library".into()).await.unwrap();
    let (vfs, me, name) = (client.vfs().clone(), Caller::this_process(), OsStr::new("f"));
    assert!(matches!(vfs.lookup(InodeId::ROOT, name).await.unwrap(), Lookup::Absent(_)));
    let new = NewInode { node: NewNode::File, mode: 0o640, umask: 0o022 };
    let (looked, opening) = vfs.create(me, InodeId::ROOT, name, new, libc::O_RDWR).await.unwrap();
    vfs.write(opening.handle, 3, Bytes::from_static(b"text"), WriteHow::default()).await.unwrap();
    assert_eq!(vfs.getattr(looked.attr.inode).await.unwrap().attr.size, 7, "before anything has left this process");
    assert_eq!(vfs.read(opening.handle, 0, 100).await.unwrap(), &b"\0\0\0text"[..]);
    vfs.fsync(opening.handle, false, &CancellationToken::new()).await.unwrap();
    vfs.release(opening.handle).await;
    let error = vfs.read(opening.handle, 0, 1).await.unwrap_err();
    assert_eq!(error.errno(), libc::EBADF);

    let dir = vfs.opendir(InodeId::ROOT).await.unwrap();
    let mut names = Vec::new();
    let sink = |entry: cairn_client::vfs::Listed<'_>| {
        names.push((entry.name.to_vec(), entry.next));
        false
    };
    vfs.readdir(dir, 0, true, sink).await.unwrap();
    assert_eq!(names.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>(), [&b"."[..], b"..", b"f"]);
    let (mut more, end) = (0, names[2].1);
    vfs.readdir(dir, end, true, |_| {
        more += 1;
        false
    })
    .await
    .unwrap();
    assert_eq!(more, 0);
    vfs.releasedir(dir);

    let missing = vfs.unlink(InodeId::ROOT, OsStr::new("none")).await.unwrap_err();
    assert_eq!(missing.errno(), libc::ENOENT);
    vfs.unlink(InodeId::ROOT, name).await.unwrap();
    client.stop().await.unwrap();
}
