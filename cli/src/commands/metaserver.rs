//! `cairn metaserver`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use cairn_metaserver::{Metaserver, MetaserverConfig};
use cairn_runtime::shutdown::Shutdown;
use clap::Args;
use toml::Table;

use crate::daemon_args::{DaemonArgs, flag};
use crate::out::announce;

/// Variables that start with it are settings.
const PREFIX: &str = "CAIRN_METASERVER_";

#[derive(Debug, Args)]
pub struct MetaserverArgs {
    /// Where the metadata are kept; a new directory becomes a new cluster
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where clients and chunkservers connect; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Where /healthz and /readyz are answered; empty for nowhere
    #[arg(long, value_name = "HOST:PORT")]
    pub health: Option<String>,
    /// Copies of each chunk in a new cluster, unless a directory says otherwise
    #[arg(long)]
    pub copies: Option<u8>,
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

pub fn run(args: MetaserverArgs) -> Result<()> {
    args.daemon.start_logging()?;
    let config: MetaserverConfig = args.daemon.load(PREFIX, args.flags())?;
    super::serve(async {
        let server = Metaserver::start(config).await?;
        let health = server.health_addr().map(|a| format!(", health at http://{a}")).unwrap_or_default();
        announce!("cairn metaserver serves at {}{health}", server.endpoint());
        let shutdown = Shutdown::new();
        shutdown.trigger_on_signals()?;
        let failure = tokio::select! {
            () = shutdown.stopping() => None,
            reason = server.failed() => Some(reason),
        };
        let stopped = server.shutdown().await;
        if let Some(reason) = failure {
            bail!("the metadata cannot be kept any more: {reason}");
        }
        Ok(stopped?)
    })
}

impl MetaserverArgs {
    fn flags(&self) -> Table {
        let mut flags = Table::new();
        flag(&mut flags, "data_dir", self.data.as_ref().map(|d| d.display().to_string()));
        flag(&mut flags, "listen", self.listen.clone());
        flag(&mut flags, "health_listen", self.health.clone());
        flag(&mut flags, "copies", self.copies.map(i64::from));
        flags
    }
}
