//! A client without a mount point: the layers on each other, on a session of their own.
//!
//! This is the file system as a library. [`crate::mount`] puts it under the kernel.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cairn_proto::meta::ClientInfo;
use cairn_proto::transport::Endpoint;
use cairn_runtime::clock::SystemClock;
use cairn_runtime::host;
use tokio::task::JoinHandle;

use crate::config::{ClientConfig, OptionError};
use crate::delegation::Delegations;
use crate::io::{Io, ReadStats};
use crate::meta::{MetaClient, MetaConfig, StartError};
use crate::vfs::{self, Unsaved, Vfs, VfsError};

/// For the session's goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);
/// For what spares the servers work but saves nothing: access times, and chunks that are handed back.
const TIDY_TIMEOUT: Duration = Duration::from_secs(5);
/// The same while the metaserver is away.
const TIDY_TIMEOUT_AWAY: Duration = Duration::from_millis(500);
/// Between two attempts to save, where the mount's `timeout` ends them.
const SAVE_RETRY: Duration = Duration::from_millis(200);

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
    #[error("written data may be lost: its servers did not take all of it within {waited:?} ({unsaved})")]
    NotSavedInTime { waited: Duration, unsaved: Unsaved },
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
        let known = vfs::known(&options, meta.term().clone());
        let observer = {
            let known = known.clone();
            Arc::new(move |attr| known.committed(&attr))
        };
        let delegations = Delegations::new(meta.clone(), Arc::new(SystemClock));
        let io = Io::new(config.io_config()?, delegations.clone(), observer);
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

    /// How it reads, in figures, for as long as it runs.
    pub fn read_stats(&self) -> impl Fn() -> Option<ReadStats> + Send + Sync + use<> {
        let io = Arc::downgrade(&self.io);
        move || Some(io.upgrade()?.read_stats())
    }

    /// Makes everything that was written durable, and ends the session. Waits for servers that are away, where there is something
    /// to save, for as long as the configuration says (`stop_timeout_ms`), and hardly at all where there is not.
    pub async fn stop(self) -> Result<(), LostData> {
        let due = Instant::now() + self.stop_timeout;
        self.stop_until(due).await
    }

    /// The same with a limit of its own.
    pub(crate) async fn stop_until(self, due: Instant) -> Result<(), LostData> {
        let begin = Instant::now();
        let saved = self.save_until(due).await;
        self.background.abort();
        // What could not be saved, this tries once more; chunks are handed back.
        let tidying = Instant::now() + self.tidy_timeout();
        let _ = tokio::time::timeout_at(tidying.into(), self.io.shutdown()).await;
        if let Err(error) = self.meta.close(GOODBYE_TIMEOUT.min(self.tidy_timeout())).await {
            tracing::warn!(%error, "the metaserver will end the session by itself");
        }
        match saved {
            Saved::All => Ok(()),
            Saved::Failed(source) => Err(LostData::NotSaved { source }),
            Saved::Not(unsaved) => Err(LostData::NotSavedInTime { waited: begin.elapsed(), unsaved }),
        }
    }

    /// Makes everything that was written durable, as far as that is done by `due`.
    pub(crate) async fn save_until(&self, due: Instant) -> Saved {
        let mut saving = std::pin::pin!(self.save());
        let tidied = Instant::now() + self.tidy_timeout();
        let mut saved = tokio::time::timeout_at(due.min(tidied).into(), &mut saving).await;
        if saved.is_err() && !self.vfs.unsaved().is_nothing() {
            saved = tokio::time::timeout_at(due.into(), saving).await;
        }
        match (saved, self.vfs.unsaved()) {
            (Ok(Ok(())), _) => Saved::All,
            (Ok(Err(source)), _) => Saved::Failed(source),
            (Err(_), unsaved) if unsaved.is_nothing() => Saved::All,
            (Err(_), unsaved) => Saved::Not(unsaved),
        }
    }

    async fn save(&self) -> Result<(), VfsError> {
        loop {
            match self.vfs.sync_all().await {
                // The end of the mount has a limit of its own.
                Err(error) if error.is_timeout() => tokio::time::sleep(SAVE_RETRY).await,
                result => return result,
            }
        }
    }

    fn tidy_timeout(&self) -> Duration {
        if self.meta.outage().lasts().is_some() { TIDY_TIMEOUT_AWAY } else { TIDY_TIMEOUT }
    }
}

/// What came of saving everything.
#[derive(Debug)]
pub(crate) enum Saved {
    All,
    Failed(VfsError),
    Not(Unsaved),
}

fn info(mountpoint: String) -> ClientInfo {
    ClientInfo {
        host: host::name(),
        mountpoint,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
