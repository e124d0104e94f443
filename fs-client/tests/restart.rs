//! Leases over a restart of the metaserver, where the kernel takes its time.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use std::ffi::OsStr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_client::vfs::{Caller, KernelCache, Lookup, NewInode, Opening, Vfs, WriteHow};
use cairn_client::{Client, ClientConfig};
use cairn_proto::ids::InodeId;
use cairn_proto::meta::NewNode;
use common::Cluster;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

/// More than anything takes that waits for nobody.
const SOON: Duration = Duration::from_secs(20);

/// A kernel in which somebody reads or writes, and has pages locked, until it is told otherwise.
#[derive(Debug)]
struct Busy(watch::Receiver<bool>);

#[async_trait]
impl KernelCache for Busy {
    fn drop_pages(&self, _: InodeId) -> BoxFuture<'static, ()> {
        let mut is_busy = self.0.clone();
        async move { drop(is_busy.wait_for(|is_busy| !is_busy).await) }.boxed()
    }

    fn forget_attrs(&self, _: InodeId) {}

    fn can_forget_names(&self) -> bool {
        false
    }

    fn forget_names(&self) {}

    async fn forgotten(&self) {}
}

async fn client(cluster: &Cluster, name: &str) -> Client {
    Client::start(cluster.endpoint().clone(), &ClientConfig::default(), name.into()).await.unwrap()
}

async fn open(vfs: &Vfs, name: &str, flags: i32) -> Opening {
    let Lookup::Found(looked) = vfs.lookup(InodeId::ROOT, OsStr::new(name)).await.unwrap() else {
        panic!("{name} is not there")
    };
    vfs.open(Caller::this_process(), looked.attr.inode, flags).await.unwrap()
}

/// A mount that remembers a file, and whose kernel has pages of others locked, keeps nobody waiting who changes the file after a restart; and
/// it shows nothing old.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_keeps_nobody_waiting_after_a_restart() {
    let mut cluster = Cluster::start().await;
    let (one, two) = (client(&cluster, "one").await, client(&cluster, "two").await);
    let (busy, is_busy) = watch::channel(false);
    one.vfs().attach_kernel(Box::new(Busy(is_busy)));
    let new = NewInode { node: NewNode::File, mode: 0o644, umask: 0 };
    let name = OsStr::new("f");
    let (_, made) = two.vfs().create(Caller::this_process(), InodeId::ROOT, name, new, libc::O_RDWR).await.unwrap();
    two.vfs().write(made.handle, 0, Bytes::from_static(b"old"), WriteHow::default()).await.unwrap();
    two.vfs().release(made.handle).await;

    let Lookup::Found(looked) = one.vfs().lookup(InodeId::ROOT, name).await.unwrap() else { panic!("it was made") };
    assert!(!looked.attr_validity.is_zero(), "it is remembered");
    busy.send_replace(true);
    cluster.restart_metaserver().await;
    let change = async {
        let opened = open(two.vfs(), "f", libc::O_RDWR).await;
        two.vfs().write(opened.handle, 0, Bytes::from_static(b"new"), WriteHow::default()).await.unwrap();
        two.vfs().release(opened.handle).await;
    };
    tokio::time::timeout(SOON, change).await.expect("nobody waits for the kernel of another mount");
    let opened = open(one.vfs(), "f", libc::O_RDONLY).await;
    assert_eq!(one.vfs().read(opened.handle, 0, 10).await.unwrap(), &b"new"[..]);
    busy.send_replace(false);
    for client in [one, two] {
        client.stop().await.unwrap();
    }
}
