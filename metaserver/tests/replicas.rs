//! A metaserver and real chunkservers, in this process: copies fail, are lost, damaged, left dirty, thrown away.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::{Path, PathBuf};

use cairn_chunkserver::{Chunkserver, ChunkserverConfig};
use cairn_metaserver::{Metaserver, MetaserverConfig};
use cairn_proto::chunk::{ChunkLocation, fragment_crcs};
use cairn_proto::chunkserver::{
    ChainRequest, ChunkServiceClient, ChunkServiceRequest, ChunkServiceResponse, ChunkState, WriteRequest,
};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkIndex, InodeId, ServerId, SessionId};
use cairn_proto::meta::{BadReplica, ChunkExtent, Mutation, MutationReply, OpenMode};
use cairn_proto::time::Timestamp;
use cairn_proto::transport::{ConnectOptions, Endpoint, Payload, PeerKind, Reconnecting, Service};
use cairn_runtime::shutdown::Shutdown;
use tokio::task::JoinHandle;

use common::{Client, ctx, start, unlink, until};

type Chunks = ChunkServiceClient<Reconnecting<ChunkServiceRequest, ChunkServiceResponse>>;

const LENGTH: u32 = 10_000;

/// A chunkserver that runs, or did.
struct Running {
    id: ServerId,
    endpoint: Endpoint,
    data_dir: PathBuf,
    task: JoinHandle<()>,
}

struct World {
    dir: tempfile::TempDir,
    meta: Metaserver,
    client: Client,
    servers: Vec<Running>,
}

/// Everything quick: a silent server is suspect after 0.6 s and dead after 2.
fn quick(dir: &Path) -> MetaserverConfig {
    MetaserverConfig {
        session_term_s: 1,
        heartbeat_ms: 100,
        suspect_after_ms: 600,
        dead_after_ms: 2000,
        census_interval_s: 1,
        reconcile_after_s: 1,
        ..common::config(dir)
    }
}

impl World {
    async fn new(servers: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let meta = start(quick(dir.path())).await;
        let client = Client::connect(meta.endpoint()).await;
        let mut world = Self { dir, meta, client, servers: Vec::new() };
        for n in 0..servers {
            let running = world.run_server(n).await;
            world.servers.push(running);
        }
        until("all chunkservers are healthy", async || world.healthy().await == servers).await;
        world
    }

    async fn run_server(&self, n: usize) -> Running {
        let data_dir = self.dir.path().join(format!("chunks{n}"));
        let config = ChunkserverConfig {
            data_dir: data_dir.clone().into(),
            listen: "127.0.0.1:0".into(),
            health_listen: String::new(),
            metaservers: vec![self.meta.endpoint().to_string()],
            name: format!("chunks{n}"),
            labels: vec![format!("host=chunks{n}")],
            reserve_bytes: 0,
            ..ChunkserverConfig::default()
        };
        let server = Chunkserver::start(config).await.unwrap();
        let (id, endpoint) = (server.id(), server.endpoint().clone());
        let task = tokio::spawn(async move { server.serve(Shutdown::new()).await.unwrap() });
        Running { id, endpoint, data_dir, task }
    }

    async fn healthy(&self) -> usize {
        let status = self.client.admin.status(ctx()).await.unwrap().unwrap();
        status.servers.iter().filter(|s| s.state == cairn_proto::admin::ServerState::Healthy).count()
    }

    fn index_of(&self, server: ServerId) -> usize {
        self.servers.iter().position(|running| running.id == server).unwrap()
    }

    /// Ends a chunkserver as kill -9 would, as far as one process allows.
    async fn kill(&mut self, server: ServerId) {
        let n = self.index_of(server);
        self.servers[n].task.abort();
        let _ = (&mut self.servers[n].task).await;
    }

    fn chunks_at(&self, endpoint: &Endpoint) -> Chunks {
        Chunks::from(Reconnecting::new(endpoint.clone(), ConnectOptions::new(Service::Chunk, PeerKind::Client)))
    }

    async fn locate(&self, file: InodeId) -> Result<ChunkLocation, FsError> {
        Ok(self.client.meta.locate(ctx(), self.client.session, file, ChunkIndex(0), 1).await.unwrap()?.remove(0))
    }

    /// A file with one chunk, written and committed; handed back where `clean`.
    async fn written_file(&mut self, name: &str, clean: bool) -> (InodeId, ChunkLocation) {
        let file = self.client.create(name).await;
        let location = self.client.allocate(file, 1).await.unwrap().remove(0);
        self.write(&location, 7).await.unwrap();
        if clean {
            assert!(self.hand_back(&location).await);
        }
        let extent =
            ChunkExtent { index: ChunkIndex(0), handle: location.id.handle, length: LENGTH, allocated: LENGTH };
        let commit = Mutation::CommitWrite {
            inode: file,
            size: u64::from(LENGTH),
            mtime: Timestamp { secs: 1, nanos: 0 },
            extents: vec![extent],
            kill_suid_sgid: false,
        };
        self.client.mutate(commit).await.unwrap();
        (file, location)
    }

    async fn write(&self, location: &ChunkLocation, byte: u8) -> Result<(), String> {
        let data = vec![byte; LENGTH as usize];
        let request = WriteRequest {
            chunk: location.id,
            writer: SessionId::SERVERS,
            offset: 0,
            crcs: fragment_crcs(0, &data),
            rest: location.replicas[1..].to_vec(),
            sync: false,
            data: Payload::from(data),
        };
        let answer = self.chunks_at(&location.replicas[0].endpoint).write(ctx(), request).await;
        answer.map_err(|e| e.to_string())?.map_err(|e| e.to_string()).map(drop)
    }

    async fn hand_back(&self, location: &ChunkLocation) -> bool {
        let request =
            ChainRequest { chunk: location.id, writer: SessionId::SERVERS, rest: location.replicas[1..].to_vec() };
        self.chunks_at(&location.replicas[0].endpoint)
            .hand_back(ctx(), request)
            .await
            .is_ok_and(|answer| answer.is_ok())
    }

    async fn replace(&mut self, location: &ChunkLocation, failed: ServerId) -> Result<ChunkLocation, FsError> {
        let id = location.id;
        let (inode, index, handle, version) = (id.inode, id.index, id.handle, id.version);
        let report = Mutation::ReplaceFailed { inode, index, handle, version, failed: vec![failed], held: 0 };
        match self.client.mutate(report).await? {
            MutationReply::Chunks(mut chunks) => Ok(chunks.remove(0)),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until a file's chunk has `copies` members that are up, and is not busy.
    async fn until_copies(&self, file: InodeId, copies: usize) -> ChunkLocation {
        until("repair", async || {
            let located = self.locate(file).await;
            located.is_ok_and(|l| l.replicas.len() == copies && l.replicas.iter().all(|replica| replica.up))
        })
        .await;
        self.locate(file).await.unwrap()
    }

    async fn fsck(&self) -> Vec<String> {
        let (mut findings, mut resume) = (Vec::new(), None);
        loop {
            let page = self.client.admin.fsck(ctx(), true, false, resume).await.unwrap().unwrap();
            findings.extend(page.findings.into_iter().map(|finding| format!("{}: {}", finding.kind, finding.what)));
            resume = page.resume;
            if resume.is_none() {
                return findings;
            }
        }
    }

    async fn assert_sound(&self) {
        assert_eq!(self.fsck().await, [""; 0]);
    }
}

/// Files of chunks below a data directory.
fn chunk_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(chunk_files(&path));
        } else if path.extension().is_some_and(|suffix| suffix == "chunk") {
            files.push(path);
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_goes_on_without_a_killed_server_and_the_copy_is_made_anew() {
    let mut world = World::new(3).await;
    let (file, location) = world.written_file("f", false).await;
    let failed = location.replicas[1].server;
    world.kill(failed).await;
    assert!(world.write(&location, 8).await.is_err());
    let shorter = world.replace(&location, failed).await.unwrap();
    assert_eq!(shorter.id.version, location.id.version.next());
    assert_eq!(shorter.replicas.iter().map(|r| r.server).collect::<Vec<_>>(), [location.replicas[0].server]);
    assert!(world.write(&location, 9).await.is_err(), "the old version is fenced off");
    // Repair may be at work already, and fence again: then the chunk is located anew.
    until("the write goes through", async || match world.locate(file).await {
        Ok(location) => world.write(&location, 8).await.is_ok() && world.hand_back(&location).await,
        Err(_) => false,
    })
    .await;
    let whole = world.until_copies(file, 2).await;
    assert!(whole.replicas.iter().all(|replica| replica.server != failed));
    assert!(whole.id.version > shorter.id.version);
    world.assert_sound().await;
    // The killed server comes back, and its old copy goes.
    let n = world.index_of(failed);
    world.servers[n] = world.run_server(n).await;
    until("the stray copy is deleted", async || chunk_files(&world.servers[n].data_dir).is_empty()).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_is_replaced_without_a_writer() {
    let mut world = World::new(3).await;
    let (file, location) = world.written_file("f", true).await;
    world.kill(location.replicas[0].server).await;
    until("the chunk moves", async || {
        let located = world.locate(file).await;
        located.is_ok_and(|l| l.replicas.iter().all(|replica| replica.server != location.replicas[0].server))
    })
    .await;
    world.until_copies(file, 2).await;
    world.assert_sound().await;
    let status = world.client.admin.status(ctx()).await.unwrap().unwrap();
    assert_eq!((status.chunks.total, status.chunks.unavailable), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_files_leave_nothing_behind() {
    let mut world = World::new(2).await;
    world.written_file("f", true).await;
    assert!(world.servers.iter().all(|server| chunk_files(&server.data_dir).len() == 1));
    world.client.mutate(unlink("f")).await.unwrap();
    until("the copies are deleted", async || {
        world.servers.iter().all(|server| chunk_files(&server.data_dir).is_empty())
    })
    .await;
    until("the garbage is forgotten", async || {
        let status = world.client.admin.status(ctx()).await.unwrap().unwrap();
        (status.chunks.total, status.chunks.garbage, status.inodes) == (0, 0, 1)
    })
    .await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found_and_made_good() {
    let mut world = World::new(2).await;
    let (file, location) = world.written_file("f", true).await;
    let server = &world.servers[world.index_of(location.replicas[0].server)];
    let path = chunk_files(&server.data_dir).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let findings = world.fsck().await;
    assert!(findings.len() == 1 && findings[0].starts_with("damaged-replica"), "{findings:?}");
    let (handle, id) = (location.id.handle, server.id);
    world.client.meta.report_bad_replica(ctx(), handle, id, BadReplica::Damaged).await.unwrap().unwrap();
    until("the copy is made good", async || world.fsck().await.is_empty()).await;
    let located = world.until_copies(file, 2).await;
    assert_eq!(located.replicas.len(), location.replicas.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_its_writer_left_dirty_is_reconciled() {
    let mut world = World::new(2).await;
    let (_, location) = world.written_file("f", false).await;
    let states = async || {
        let mut clean = 0;
        for replica in &location.replicas {
            let stat = world.chunks_at(&replica.endpoint).stat(ctx(), location.id.handle).await.unwrap().unwrap();
            clean += usize::from(stat.state == ChunkState::Clean);
        }
        clean
    };
    assert_eq!(states().await, 0);
    // Nobody holds the file open: the writer is as good as gone.
    until("reconciling", async || states().await == 2).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_vanished_writer_left_is_seen_only_reconciled() {
    let mut world = World::new(2).await;
    let (file, location) = world.written_file("f", false).await;
    let write = OpenMode { read: true, write: true };
    world.client.meta.open(ctx(), world.client.session, file, write).await.unwrap().unwrap();
    let reader = Client::connect(world.meta.endpoint()).await;
    reader.attend();
    // The writer falls silent, the reader does not; and it opens the file for writing, too.
    until("the writer's session ends", async || reader.admin.status(ctx()).await.unwrap().unwrap().sessions.len() == 1)
        .await;
    until("opening", async || reader.meta.open(ctx(), reader.session, file, write).await.unwrap().is_ok()).await;
    world.client = reader;
    until("reconciling", async || {
        world.client.meta.keep_alive(ctx(), world.client.session).await.unwrap().unwrap();
        world.locate(file).await.is_ok_and(|l| l.id.version > location.id.version)
    })
    .await;
    for replica in &location.replicas {
        let stat = world.chunks_at(&replica.endpoint).stat(ctx(), location.id.handle).await.unwrap().unwrap();
        assert_eq!(stat.state, ChunkState::Clean);
    }
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_all_have_been_killed() {
    let mut world = World::new(3).await;
    let (file, location) = world.written_file("f", true).await;
    for n in 0..3 {
        let id = world.servers[n].id;
        world.kill(id).await;
    }
    let config = quick(world.dir.path());
    let World { dir, meta, servers, .. } = world;
    drop(meta);
    let meta = start(config).await;
    let client = Client::connect(meta.endpoint()).await;
    let mut world = World { dir, meta, client, servers };
    for n in 0..3 {
        world.servers[n] = world.run_server(n).await;
    }
    let located = world.until_copies(file, 2).await;
    assert_eq!((located.id, located.length), (location.id, LENGTH));
    world.assert_sound().await;
    // And there is none that serves at the old addresses.
    assert!(world.servers.iter().all(|server| server.endpoint != location.replicas[0].endpoint));
}
