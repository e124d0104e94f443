//! A cluster in this process, in a temporary directory, and mounts of it.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_chunkserver::{Chunkserver, ChunkserverConfig};
use cairn_client::mount::{UnmountMode, unmount};
use cairn_client::{ClientConfig, Mount, MountConfig};
use cairn_metaserver::{Metaserver, MetaserverConfig};
use cairn_proto::transport::Endpoint;
use cairn_runtime::shutdown::Shutdown;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A metaserver and chunkservers. Ends with the test's runtime.
pub struct Cluster {
    dir: TempDir,
    metaserver: Option<Metaserver>,
    endpoint: Endpoint,
    _chunkservers: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Two copies on two chunkservers.
    pub async fn start() -> Self {
        // Silent unless RUST_LOG asks.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let dir = tempfile::tempdir().unwrap();
        let metaserver = Metaserver::start(metaserver_config(dir.path(), "127.0.0.1:0")).await.unwrap();
        let endpoint = metaserver.endpoint().clone();
        let mut chunkservers = Vec::new();
        for number in 1..=2 {
            let config = ChunkserverConfig {
                data_dir: dir.path().join(format!("chunks-{number}")),
                listen: "127.0.0.1:0".into(),
                health_listen: String::new(),
                metaservers: vec![endpoint.to_string()],
                name: format!("chunkserver-{number}"),
                heartbeat_ms: Some(50),
                ..ChunkserverConfig::default()
            };
            let server = Chunkserver::start(config).await.unwrap();
            chunkservers.push(tokio::spawn(async move { server.serve(Shutdown::new()).await.unwrap() }));
        }
        Self { dir, metaserver: Some(metaserver), endpoint, _chunkservers: chunkservers }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub async fn stop_metaserver(&mut self) {
        self.metaserver.take().unwrap().shutdown().await.unwrap();
    }

    pub async fn restart_metaserver(&mut self) {
        let config = metaserver_config(self.dir.path(), &self.endpoint.to_string());
        self.metaserver = Some(Metaserver::start(config).await.unwrap());
    }

    pub async fn mount(&self) -> Mounted {
        self.mount_with(ClientConfig::default()).await
    }

    pub async fn mount_with(&self, client: ClientConfig) -> Mounted {
        let guard = Mountpoint::new();
        let mountpoint = guard.path.clone();
        let mount = Mount::start(MountConfig { metaserver: self.endpoint.clone(), mountpoint, client }).await.unwrap();
        Mounted { mount: Some(mount), guard }
    }
}

fn metaserver_config(dir: &Path, listen: &str) -> MetaserverConfig {
    MetaserverConfig {
        data_dir: dir.join("meta"),
        listen: listen.to_owned(),
        health_listen: String::new(),
        ..MetaserverConfig::default()
    }
}

/// A directory to mount at. Whatever is mounted there when it is dropped is unmounted, by force.
pub struct Mountpoint {
    pub path: PathBuf,
}

impl Mountpoint {
    pub fn new() -> Self {
        Self { path: tempfile::Builder::new().prefix("cairn-mount-").tempdir().unwrap().keep() }
    }
}

impl Drop for Mountpoint {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountMode::Force);
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// A mount that does not outlive its test.
pub struct Mounted {
    mount: Option<Mount>,
    guard: Mountpoint,
}

impl Mounted {
    pub fn path(&self) -> &Path {
        &self.guard.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.guard.path.join(name)
    }

    pub fn mount(&self) -> &Mount {
        self.mount.as_ref().unwrap()
    }

    pub async fn stop(mut self) {
        self.mount.take().unwrap().stop().await.unwrap();
    }

    /// Runs `work`, which uses the mount with blocking calls, beside the runtime that serves it.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce(PathBuf) -> T + Send + 'static) -> T {
        let path = self.guard.path.clone();
        within(tokio::task::spawn_blocking(move || work(path))).await.unwrap()
    }
}

/// Fails the test where `work` hangs.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("hangs")
}
