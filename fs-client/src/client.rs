//! A client without a mount point: the layers on each other, on a session of their own.
//!
//! This is the file system as a library. [`crate::mount`] puts it under the kernel.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cairn_proto::meta::ClientInfo;
use cairn_proto::transport::Endpoint;
use cairn_runtime::clock::SystemClock;
use tokio::task::JoinHandle;

use crate::config::{ClientConfig, OptionError};
use crate::delegation::Delegations;
use crate::io::Io;
use crate::meta::{MetaClient, MetaConfig, StartError};
use crate::vfs::{self, Vfs, VfsError};

/// For the session's goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// A running client. [`Client::stop`] it: dropped, it loses what was written and not synced.
#[derive(Debug)]
pub struct Client {
    meta: Arc<MetaClient>,
    io: Arc<Io>,
    vfs: Arc<Vfs>,
    background: JoinHandle<()>,
    stop_timeout: Duration,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the configuration cannot be used: {0}")]
    Config(#[from] OptionError),
    #[error(transparent)]
    Metaserver(#[from] StartError),
}

/// Written data that was lost at the end.
#[derive(Debug, thiserror::Error)]
pub enum LostData {
    #[error("written data was lost: it could not be saved")]
    NotSaved {
        #[source]
        source: VfsError,
    },
    #[error("written data was lost: its servers did not take it within {waited:?}")]
    NotSavedInTime { waited: Duration },
}

impl Client {
    /// Opens a session. Must be called within a tokio runtime, which then runs the client. `label` is what the metaserver shows as
    /// the mount point.
    pub async fn start(metaserver: Endpoint, config: &ClientConfig, label: String) -> Result<Self, ClientError> {
        config.validate()?;
        let session = MetaConfig {
            endpoint: metaserver,
            info: info(label),
            timeout: config.timeout(),
            start_timeout: Duration::from_millis(config.start_timeout_ms),
        };
        let meta = MetaClient::start(session).await?;
        let options = config.vfs_options();
        let known = vfs::known(&options, Arc::new(SystemClock));
        let observer = {
            let known = known.clone();
            Arc::new(move |attr| known.committed(&attr))
        };
        let delegations = Delegations::new(meta.clone(), Arc::new(SystemClock));
        let io = Io::new(config.io_config(), delegations.clone(), observer);
        let vfs = Arc::new(Vfs::new(meta.clone(), delegations.clone(), io.clone(), known, &options));
        let above: Weak<Vfs> = Arc::downgrade(&vfs);
        delegations.attach(above);
        let background = tokio::spawn({
            let vfs = vfs.clone();
            async move {
                tokio::join!(vfs.run_background(), delegations.run());
            }
        });
        Ok(Self { meta, io, vfs, background, stop_timeout: config.stop_timeout() })
    }

    /// The session with the metaserver.
    pub fn meta(&self) -> &Arc<MetaClient> {
        &self.meta
    }

    pub fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }

    /// Makes everything that was written durable, and ends the session.
    pub async fn stop(self) -> Result<(), LostData> {
        let waited = self.stop_timeout;
        let saved = tokio::time::timeout(waited, self.vfs.sync_all()).await;
        self.background.abort();
        // What could not be saved, this tries once more; chunks are handed back.
        let _ = tokio::time::timeout(waited, self.io.shutdown()).await;
        if let Err(error) = self.meta.close(GOODBYE_TIMEOUT).await {
            tracing::warn!(%error, "the metaserver will end the session by itself");
        }
        match saved {
            Err(_) => Err(LostData::NotSavedInTime { waited }),
            Ok(Err(source)) => Err(LostData::NotSaved { source }),
            Ok(Ok(())) => Ok(()),
        }
    }
}

fn info(mountpoint: String) -> ClientInfo {
    let host = nix::unistd::gethostname();
    ClientInfo {
        host: host.map_or_else(|_| "unknown".to_owned(), |host| host.to_string_lossy().into_owned()),
        mountpoint,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
