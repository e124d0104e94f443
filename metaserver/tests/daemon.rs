//! A whole metaserver, in this process, spoken to over the wire. The chunkservers here only register and beat; their data are
//! played by nobody: what needs real copies is tested with real chunkservers, in `replicas.rs` and in the system tests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use cairn_metaserver::MetaserverConfig;
use cairn_proto::admin::{PolicySet, ServerState};
use cairn_proto::attr::SetAttr;
use cairn_proto::cluster::{ClusterError, Heartbeat, Registration, Report, Space};
use cairn_proto::error::{AdminError, FsError};
use cairn_proto::ids::{BootId, ChunkIndex, ClusterId, InodeId, OpId, ServerId, SessionId};
use cairn_proto::meta::{ChunkExtent, Mutation, MutationReply, NamedMutation, NewNode, OpenMode};
use cairn_proto::time::Timestamp;

use common::{Client, config, create, ctx, entry_of, name, start, unlink, until};

/// A chunkserver that registers and reports nothing, at an address where nobody answers.
async fn register(client: &Client, n: u128) -> ServerId {
    let registration = registration(n);
    let server = registration.server;
    client.cluster.register(ctx(), registration).await.unwrap().unwrap();
    client.cluster.report(ctx(), Report { server, chunks: vec![], last: true }).await.unwrap().unwrap();
    server
}

fn registration(n: u128) -> Registration {
    Registration {
        server: ServerId(uuid::Uuid::from_u128(n)),
        cluster: None,
        name: format!("cs{n}"),
        labels: format!("host=h{n}").parse().unwrap(),
        endpoint: format!("127.0.0.1:{n}").parse().unwrap(),
        boot: BootId(1),
        space: Space { total: 8 << 30, free: 6 << 30, used: 2 << 30 },
        version: "0".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_survive_a_restart_and_a_retry_is_answered_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut client = Client::connect(server.endpoint()).await;
    let file = client.create("a").await;
    let op = client.name_op(unlink("b"));
    client.create("b").await;
    client.repeat(op.clone()).await.unwrap();
    let (cluster, session) = (server.cluster(), client.session);
    server.shutdown().await.unwrap();

    let server = start(config(dir.path())).await;
    assert_eq!(server.cluster(), cluster);
    let mut again = Client::without_session(server.endpoint());
    again.session = again.open_session(Some(session), vec![]).await.unwrap();
    again.seq = client.seq;
    assert_eq!(again.lookup(InodeId::ROOT, "a").await.unwrap().inode, file);
    assert_eq!(again.lookup(InodeId::ROOT, "b").await, Err(FsError::NotFound));
    assert!(matches!(again.repeat(op).await, Ok(MutationReply::Removed { .. })));
    assert_ne!(again.create("c").await, file);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_done_in_order_and_each_on_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut client = Client::connect(server.endpoint()).await;
    let entries = |client: &mut Client| {
        let mut ops = vec![client.name_op(unlink("missing"))];
        for n in 0..300 {
            ops.push(client.name_op(create(InodeId::ROOT, &format!("f{n}"), NewNode::File, false)));
            ops.push(client.name_op(unlink(&format!("f{n}"))));
        }
        ops
    };
    let ops = entries(&mut client);
    let results = client.meta.mutate(ctx(), ops, 0).await.unwrap().unwrap();
    assert_eq!(results[0], Err(FsError::NotFound));
    assert_eq!(results.len(), 601);
    assert!(results[1..].iter().all(Result::is_ok));
    let other = NamedMutation { op: OpId { session: SessionId(77), seq: 1 }, mutation: unlink("x"), ahead: None };
    let refused = client.meta.mutate(ctx(), vec![other], 0).await.unwrap();
    assert_eq!(refused, Err(FsError::SessionUnknown(SessionId(77))));
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_file_outlives_its_name_and_not_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut client = Client::connect(server.endpoint()).await;
    let watcher = Client::without_session(server.endpoint());
    // Sessions from before the start would have this long to show themselves.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    client.session = client.open_session(None, vec![]).await.unwrap();
    watcher.attend();
    let attending = client.attend();
    let created = entry_of(client.mutate(create(InodeId::ROOT, "created", NewNode::File, true)).await.unwrap());
    let opened = client.create("opened").await;
    client.meta.open(ctx(), client.session, opened, OpenMode { read: true, write: false }).await.unwrap().unwrap();
    let closed = client.create("closed").await;
    for entry in ["created", "opened", "closed"] {
        client.mutate(unlink(entry)).await.unwrap();
    }
    let is_there = async |inode: InodeId| {
        watcher.meta.get_attr(ctx(), watcher.session, inode).await.unwrap() != Err(FsError::Stale(inode))
    };
    until("reaping what is closed", async || !is_there(closed).await).await;
    assert!(is_there(created).await && is_there(opened).await);
    client.meta.release(ctx(), client.session, vec![opened]).await.unwrap().unwrap();
    until("reaping what was released", async || {
        client.meta.keep_alive(ctx(), client.session).await.unwrap().unwrap();
        !is_there(opened).await
    })
    .await;
    assert!(is_there(created).await);
    attending.abort();
    until("reaping what a silent session held", async || !is_there(created).await).await;
    let gone = client.meta.keep_alive(ctx(), client.session).await.unwrap();
    assert_eq!(gone, Err(FsError::SessionUnknown(client.session)));
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_sessions_reclaim_before_anything_is_reaped() {
    let dir = tempfile::tempdir().unwrap();
    let config = MetaserverConfig { session_term_s: 3, ..config(dir.path()) };
    let server = start(config.clone()).await;
    let mut client = Client::connect(server.endpoint()).await;
    let held = entry_of(client.mutate(create(InodeId::ROOT, "held", NewNode::File, true)).await.unwrap());
    client.mutate(unlink("held")).await.unwrap();
    let session = client.session;
    drop(server);

    let server = start(config).await;
    let client = Client::without_session(server.endpoint());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    client.open_session(Some(session), vec![held]).await.unwrap();
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        client.meta.keep_alive(ctx(), session).await.unwrap().unwrap();
    }
    assert!(client.meta.get_attr(ctx(), session, held).await.unwrap().is_ok());
    client.meta.close_session(ctx(), session).await.unwrap().unwrap();
    until("reaping", async || client.meta.get_attr(ctx(), session, held).await.unwrap() == Err(FsError::Stale(held)))
        .await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_placed_committed_and_located() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut client = Client::connect(server.endpoint()).await;
    let file = client.create("f").await;
    assert_eq!(client.allocate(file, 1).await, Err(FsError::NoServers));
    for n in 1..=3 {
        register(&client, n).await;
    }
    let chunks = client.allocate(file, 3).await.unwrap();
    assert_eq!(chunks.len(), 3);
    for chunk in &chunks {
        assert_eq!(chunk.replicas.len(), 2);
        assert_ne!(chunk.replicas[0].server, chunk.replicas[1].server);
        assert!(chunk.replicas.iter().all(|replica| replica.up));
    }
    assert_eq!(client.allocate(file, 3).await.unwrap(), chunks);
    let extent = ChunkExtent { index: ChunkIndex(1), handle: chunks[1].id.handle, length: 77, allocated: 4096 };
    let size = (64 << 20) + 77;
    let commit = Mutation::CommitWrite {
        inode: file,
        size,
        mtime: Timestamp { secs: 5, nanos: 0 },
        extents: vec![extent],
        kill_suid_sgid: false,
    };
    client.mutate(commit).await.unwrap();
    let opened = client.meta.open(ctx(), client.session, file, OpenMode { read: true, write: true }).await.unwrap();
    let opened = opened.unwrap();
    assert_eq!((opened.attr.size, opened.chunks.len(), opened.chunks[1].length), (size, 2, 77));

    // A restarted metaserver knows the members, and where they were, but not that they are up.
    server.shutdown().await.unwrap();
    let server = start(config(dir.path())).await;
    let client = Client::connect(server.endpoint()).await;
    let located = client.meta.locate(ctx(), client.session, file, ChunkIndex(0), 3).await.unwrap().unwrap();
    assert_eq!(located.iter().map(|c| c.id).collect::<Vec<_>>(), chunks.iter().map(|c| c.id).collect::<Vec<_>>());
    assert_eq!(located[0].replicas[0].endpoint, chunks[0].replicas[0].endpoint);
    assert!(located.iter().flat_map(|chunk| &chunk.replicas).all(|replica| !replica.up));
    let info = client.admin.info(ctx(), file, 0).await.unwrap().unwrap();
    assert_eq!((info.chunks.len(), info.path), (3, Some(vec![name("f")])));
    assert!(info.chunks[0].names[0].starts_with("cs"));
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn chunkservers_are_checked_at_the_door() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let client = Client::connect(server.endpoint()).await;
    let foreign = ClusterId::random();
    let refused = client.cluster.register(ctx(), Registration { cluster: Some(foreign), ..registration(1) }).await;
    assert_eq!(refused.unwrap(), Err(ClusterError::ForeignCluster { ours: server.cluster(), theirs: foreign }));
    let heartbeat = Heartbeat {
        server: registration(1).server,
        seq: 1,
        space: Space::default(),
        load: 0,
        changes: vec![],
        disks: vec![],
        scrub: Default::default(),
    };
    let unknown = client.cluster.heartbeat(ctx(), heartbeat.clone()).await.unwrap();
    assert_eq!(unknown, Err(ClusterError::UnknownServer(registration(1).server)));
    let id = register(&client, 1).await;
    // Nobody answers at the old address: it was restarted elsewhere.
    let moved = Registration { endpoint: "127.0.0.1:99".parse().unwrap(), ..registration(1) };
    client.cluster.register(ctx(), moved).await.unwrap().unwrap();
    client.cluster.goodbye(ctx(), id).await.unwrap().unwrap();
    let status = client.admin.status(ctx()).await.unwrap().unwrap();
    assert_eq!((status.servers.len(), status.servers[0].state), (1, ServerState::Maintenance));
    assert_eq!(status.sessions.len(), 1);
    assert!(status.workers.iter().any(|worker| worker.name == "repair-1"));
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_all_services_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let client = Client::connect(server.endpoint()).await;
    register(&client, 1).await;
    for _ in 0..3 {
        client.meta.get_attr(ctx(), client.session, InodeId::ROOT).await.unwrap().unwrap();
    }
    // A refusal is a good answer.
    client.meta.get_attr(ctx(), client.session, InodeId(99)).await.unwrap().unwrap_err();
    let stats = client.admin.stats(ctx()).await.unwrap().unwrap();
    let of = |name: &str| stats.requests.iter().find(|counts| counts.name == name).unwrap();
    assert_eq!((of("MetaService.get_attr").calls, of("MetaService.get_attr").failed), (4, 0));
    assert_eq!(of("ClusterService.register").calls, 1);
    assert_eq!((of("AdminService.stats").calls, of("AdminService.stats").in_flight), (1, 1));
    assert!(stats.requests.is_sorted_by(|a, b| a.name < b.name));
    let later = client.admin.stats(ctx()).await.unwrap().unwrap();
    assert_eq!(later.started, stats.started);
    assert!(later.uptime_ms >= stats.uptime_ms);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_reach_down_where_asked() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut client = Client::connect(server.endpoint()).await;
    let top = entry_of(client.mutate(create(InodeId::ROOT, "d", NewNode::Directory, false)).await.unwrap());
    let below = entry_of(client.mutate(create(top, "e", NewNode::Directory, false)).await.unwrap());
    let file = entry_of(client.mutate(create(below, "f", NewNode::File, false)).await.unwrap());
    let copies =
        async |client: &Client, inode| client.admin.info(ctx(), inode, 0).await.unwrap().unwrap().policy.copies;
    let change = |copies| PolicySet { copies: Some(copies), loose: Some(true), ..PolicySet::default() };
    client.admin.set_policy(ctx(), top, change(3), false).await.unwrap().unwrap();
    assert_eq!((copies(&client, top).await, copies(&client, file).await), (3, 2));
    client.admin.set_policy(ctx(), top, change(4), true).await.unwrap().unwrap();
    assert_eq!((copies(&client, below).await, copies(&client, file).await), (4, 4));
    let refused = client.admin.set_policy(ctx(), top, change(10), true).await.unwrap();
    assert_eq!(refused, Err(AdminError::Metadata(FsError::InvalidArgument)));
    let path = vec![name("d"), name("e"), name("f")];
    assert_eq!(client.admin.resolve(ctx(), path).await.unwrap(), Ok(file));
    assert!(client.admin.checkpoint(ctx()).await.unwrap().unwrap().0 > 0);
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_cluster_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut client = Client::connect(server.endpoint()).await;
    for n in 0..20 {
        client.create(&format!("f{n}")).await;
    }
    client.mutate(Mutation::SetAttr { inode: InodeId::ROOT, set: SetAttr::default() }).await.unwrap();
    let (mut resume, mut pages, mut inodes) = (None, 0, 0);
    loop {
        let page = client.admin.fsck(ctx(), true, false, resume).await.unwrap().unwrap();
        assert_eq!(page.findings, []);
        pages += 1;
        inodes += page.inodes_checked;
        resume = page.resume;
        if resume.is_none() {
            break;
        }
    }
    assert!(pages >= 3 && inodes >= 21, "{pages} pages, {inodes} inodes");
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_can_be_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut client = Client::connect(server.endpoint()).await;
    client.create("f").await;
    client.meta.close_session(ctx(), client.session).await.unwrap().unwrap();
    server.shutdown().await.unwrap();

    let free = cairn_metaserver::raft::free_bytes(dir.path()).unwrap();
    let server = start(MetaserverConfig { reserve_bytes: free / 2 * 3, ..config(dir.path()) }).await;
    let mut client = Client::connect(server.endpoint()).await;
    let full = |n: u32| create(InodeId::ROOT, &format!("g{n}"), NewNode::File, false);
    let mut n = 0;
    until("what takes space is refused", async || {
        n += 1;
        client.mutate(full(n)).await == Err(FsError::NoSpace)
    })
    .await;
    client.mutate(unlink("f")).await.unwrap();
    client.meta.close_session(ctx(), client.session).await.unwrap().unwrap();
    server.shutdown().await.unwrap();

    let server = start(config(dir.path())).await;
    let mut client = Client::connect(server.endpoint()).await;
    assert_eq!(client.lookup(InodeId::ROOT, "f").await, Err(FsError::NotFound));
    client.create("h").await;
    server.shutdown().await.unwrap();
}

/// The figures of `docs/decisions/0002-chunk-membership.md`. Run by hand: `cargo test -p cairn-metaserver --test daemon -- --ignored
/// --nocapture figures`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn figures_of_chunk_membership() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let mut client = Client::connect(server.endpoint()).await;
    for n in 1..=3 {
        register(&client, n).await;
    }
    const FILES: u32 = 200;
    let mut files = Vec::new();
    for n in 0..FILES {
        files.push(client.create(&format!("f{n}")).await);
    }
    let before = std::time::Instant::now();
    for file in &files {
        client.allocate(*file, 1).await.unwrap();
    }
    println!("allocating one chunk: {:?} each, one after the other", before.elapsed() / FILES);
    let before = std::time::Instant::now();
    for file in &files {
        client.meta.locate(ctx(), client.session, *file, ChunkIndex(0), 1).await.unwrap().unwrap();
    }
    println!("locating one chunk: {:?} each", before.elapsed() / FILES);
    let before = std::time::Instant::now();
    let big = client.create("big").await;
    for first in (0..64 * 64).step_by(64) {
        let (inode, first) = (big, ChunkIndex(first));
        client.mutate(Mutation::AllocateChunks { inode, first, count: 64 }).await.unwrap();
    }
    println!("allocating 64 chunks: {:?} each", before.elapsed() / 64);
    server.shutdown().await.unwrap();
}
