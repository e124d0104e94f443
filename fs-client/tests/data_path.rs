//! The data path on real servers, without a file system above it: chunkservers that go away while a file is written, and how
//! fast it is (`cargo test --release -p cairn-client --test data_path -- --ignored --nocapture`).

#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_chunkserver::{Chunkserver, ChunkserverConfig};
use cairn_client::io::{FileIo, Io, IoConfig};
use cairn_client::meta::{MetaClient, MetaConfig, NewEntry};
use cairn_client::vfs::VfsError;
use cairn_metaserver::{Metaserver, MetaserverConfig};
use cairn_proto::attr::{Credentials, SetAttr};
use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::{ClientInfo, NewNode, OpenMode};
use cairn_proto::name::Name;
use cairn_proto::time::Timestamp;
use cairn_proto::transport::Endpoint;
use cairn_runtime::shutdown::Shutdown;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

struct Cluster {
    _dir: TempDir,
    metaserver: Metaserver,
    chunkservers: Vec<Shutdown>,
}

/// A client of the cluster, and one file.
struct Bench {
    meta: Arc<MetaClient>,
    io: Arc<Io>,
    file: Arc<FileIo>,
}

impl Cluster {
    async fn start(chunkservers: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = MetaserverConfig {
            data_dir: dir.path().join("meta"),
            listen: "127.0.0.1:0".into(),
            health_listen: String::new(),
            ..MetaserverConfig::default()
        };
        let metaserver = Metaserver::start(config).await.unwrap();
        let mut started = Vec::new();
        for number in 0..chunkservers {
            started.push(chunkserver(dir.path(), number, metaserver.endpoint()).await);
        }
        Self { _dir: dir, metaserver, chunkservers: started }
    }

    async fn bench(&self, config: IoConfig, name: &str) -> Bench {
        let info = ClientInfo {
            host: "here".into(),
            mountpoint: "nowhere".into(),
            pid: std::process::id(),
            version: String::new(),
        };
        let endpoint = self.metaserver.endpoint().clone();
        let start_timeout = Duration::from_secs(10);
        let meta = MetaClient::start(MetaConfig { endpoint, info, timeout: None, start_timeout }).await.unwrap();
        tokio::spawn(drop_leases(meta.clone()));
        let new = NewEntry {
            parent: InodeId::ROOT,
            name: Name::new(name.as_bytes()).unwrap(),
            node: NewNode::File,
            mode: 0o644,
            umask: 0,
            owner: Credentials { uid: 0, gid: 0 },
            exclusive: false,
            open: false,
        };
        let entry = meta.create(new).await.unwrap();
        let opened = meta.open(entry.attr.inode, OpenMode { read: true, write: true }).await.unwrap();
        let io = Io::new(config, meta.clone(), Arc::new(|_| ()));
        let file = io.file(&opened);
        Bench { meta, io, file }
    }
}

/// Nothing is remembered here, so whatever is to be dropped is.
async fn drop_leases(meta: Arc<MetaClient>) {
    let (mut was, mut seen) = (None, 0);
    while let Ok((standing, events)) = meta.events(was, seen).await {
        (was, seen) = (Some(standing), events.seen);
        let numbers = events.events.into_iter().map(|(number, _)| number).collect();
        if meta.acted(numbers).await.is_err() {
            return;
        }
    }
}

async fn chunkserver(dir: &Path, number: usize, metaserver: &Endpoint) -> Shutdown {
    let config = ChunkserverConfig {
        data_dir: dir.join(format!("chunks-{number}")).into(),
        listen: "127.0.0.1:0".into(),
        health_listen: String::new(),
        metaservers: vec![metaserver.to_string()],
        name: format!("chunkserver-{number}"),
        labels: vec![format!("host=chunkserver-{number}")],
        heartbeat_ms: Some(50),
        ..ChunkserverConfig::default()
    };
    let server = Chunkserver::start(config).await.unwrap();
    let shutdown = Shutdown::new();
    tokio::spawn(server.serve(shutdown.clone()));
    shutdown
}

impl Bench {
    async fn write(&self, offset: u64, data: Bytes) {
        self.file.write(offset, data, Timestamp::now(), false).await.unwrap();
    }

    async fn read_all(&self, len: usize) -> Vec<u8> {
        let mut all = Vec::with_capacity(len);
        while all.len() < len {
            let want = (len - all.len()).min(MIB) as u32;
            let part = self.file.read(all.len() as u64, want).await.unwrap();
            assert!(!part.is_empty(), "the file ends at {}", all.len());
            all.extend_from_slice(&part);
        }
        all
    }
}

/// Bytes that differ from place to place.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    word.take(len.div_ceil(8)).flat_map(u64::to_le_bytes).take(len).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_over_several_chunks_comes_back_as_it_was_written() {
    let cluster = Cluster::start(3).await;
    let writer = cluster.bench(IoConfig::default(), "f").await;
    let mut data = pattern(CHUNK_SIZE as usize + 5 * MIB + 777, 1);
    for (i, part) in data.chunks(300_000).enumerate() {
        writer.write(i as u64 * 300_000, Bytes::copy_from_slice(part)).await;
    }
    writer.file.sync().await.unwrap();
    let punched = CHUNK_SIZE as usize - 100_000..CHUNK_SIZE as usize + 50_000;
    writer.file.zero(punched.start as u64, punched.len() as u64).await.unwrap();
    data[punched.clone()].fill(0);
    let size = data.len() as u64 - 2_000_001;
    let set = SetAttr { size: Some(size), ..SetAttr::default() };
    let set = async { Ok::<_, VfsError>(writer.meta.set_attr(writer.file.inode(), set).await?) };
    writer.file.truncate_with(size, set).await.unwrap();
    data.truncate(size as usize);
    writer.write(size + 10_000, Bytes::from_static(b"behind a gap")).await;
    data.resize(size as usize + 10_000, 0);
    data.extend(b"behind a gap");
    writer.file.sync().await.unwrap();

    let reader = cluster.bench(IoConfig::default(), "f").await;
    assert_eq!(reader.file.size(), data.len() as u64);
    assert!(reader.read_all(data.len()).await == data);
    let hole = reader.file.seek_hole(0).await.unwrap();
    assert_eq!(hole, (punched.start as u64).next_multiple_of(4096));
    assert_eq!(reader.file.seek_data(hole).await.unwrap(), Some(punched.end as u64 / 4096 * 4096));
    writer.io.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_does_not_notice_a_chunkserver_that_goes_away() {
    let cluster = Cluster::start(3).await;
    let writer = cluster.bench(IoConfig::default(), "f").await;
    let mut cursor = writer.file.error_cursor();
    let data = pattern(96 * MIB, 2);
    for (i, part) in data.chunks(MIB).enumerate() {
        if i == 20 {
            cluster.chunkservers[0].trigger();
        }
        writer.write((i * MIB) as u64, Bytes::copy_from_slice(part)).await;
        if i % 16 == 15 {
            writer.file.sync().await.unwrap();
        }
    }
    writer.file.sync().await.unwrap();
    assert_eq!(writer.file.take_error(&mut cursor), None);
    let reader = cluster.bench(IoConfig::default(), "f").await;
    assert!(reader.read_all(data.len()).await == data);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn speed() {
    const SIZE: usize = 1 << 30;
    let cluster = Cluster::start(3).await;
    let rate = |what: &str, begin: Instant| {
        let seconds = begin.elapsed().as_secs_f64();
        println!("{what}: {:.0} MB/s", SIZE as f64 / seconds / 1e6);
    };
    let piece = Bytes::from(pattern(MIB, 3));
    // Small ones first: later rounds may wait for the disk under everything.
    for (name, step) in [("4 KiB", 4096), ("128 KiB", 128 << 10), ("1 MiB", MIB)] {
        let writer = cluster.bench(IoConfig::default(), name).await;
        let begin = Instant::now();
        for at in (0..SIZE).step_by(step) {
            writer.write(at as u64, piece.slice(..step)).await;
        }
        writer.file.flush().await.unwrap();
        rate(&format!("write {name} at a time"), begin);
        writer.file.sync().await.unwrap();
        rate(&format!("write {name} at a time and sync"), begin);
        writer.io.shutdown().await;

        let reader = cluster.bench(IoConfig { cache_bytes: 2 << 30, ..IoConfig::default() }, name).await;
        for round in ["read", "read again"] {
            let begin = Instant::now();
            for at in (0..SIZE).step_by(step) {
                let bytes = match reader.file.try_read(at as u64, step as u32) {
                    Some(bytes) => bytes,
                    None => reader.file.read(at as u64, step as u32).await.unwrap(),
                };
                assert_eq!(bytes.len(), step);
            }
            rate(&format!("{round} {name} at a time"), begin);
        }
    }
    let reader = cluster.bench(IoConfig::default(), "1 MiB").await;
    for depth in [1, 16] {
        const READS: usize = 20_000;
        let begin = Instant::now();
        let readers = (0..depth).map(|reader_number| {
            let file = reader.file.clone();
            tokio::spawn(async move {
                for i in 0..READS / depth {
                    let block = ((i * depth + reader_number) * 7919 + depth) % (SIZE / 4096);
                    file.read(block as u64 * 4096, 4096).await.unwrap();
                }
            })
        });
        futures::future::join_all(readers).await;
        println!("random 4 KiB reads at depth {depth}: {:.0}/s", READS as f64 / begin.elapsed().as_secs_f64());
    }
    let writer = cluster.bench(IoConfig::default(), "1 MiB").await;
    let begin = Instant::now();
    const SYNCS: usize = 2000;
    for i in 0..SYNCS {
        writer.write((i * 7919 % 200_000 * 4096) as u64, piece.slice(..4096)).await;
        writer.file.sync().await.unwrap();
    }
    println!("random 4 KiB writes with fsync: {:.0}/s", SYNCS as f64 / begin.elapsed().as_secs_f64());
}
