//! A cluster in this process, in a temporary directory.

use cairn_chunkserver::{Chunkserver, ChunkserverConfig};
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
        let metaserver = metaserver(&dir, "127.0.0.1:0").await;
        let endpoint = metaserver.endpoint().clone();
        let mut chunkservers = Vec::new();
        for number in 1..=2 {
            let config = ChunkserverConfig {
                data_dir: dir.path().join(format!("chunks-{number}")).into(),
                listen: "127.0.0.1:0".into(),
                health_listen: String::new(),
                metaservers: vec![endpoint.to_string()],
                name: format!("chunkserver-{number}"),
                labels: vec![format!("host=chunkserver-{number}")],
                heartbeat_ms: Some(50),
                ..ChunkserverConfig::default()
            };
            let server = Chunkserver::start(config).await.unwrap();
            chunkservers.push(tokio::spawn(async move { server.serve(Shutdown::new()).await.unwrap() }));
        }
        Self { dir, metaserver: Some(metaserver), endpoint, _chunkservers: chunkservers }
    }

    /// Stops the metaserver and starts another one in its place.
    #[allow(dead_code, reason = "not every test does")]
    pub async fn restart_metaserver(&mut self) {
        self.metaserver.take().unwrap().shutdown().await.unwrap();
        self.metaserver = Some(metaserver(&self.dir, &self.endpoint.to_string()).await);
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

async fn metaserver(dir: &TempDir, listen: &str) -> Metaserver {
    Metaserver::start(MetaserverConfig {
        data_dir: dir.path().join("meta"),
        listen: listen.to_owned(),
        health_listen: String::new(),
        ..MetaserverConfig::default()
    })
    .await
    .unwrap()
}
