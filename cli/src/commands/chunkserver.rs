//! `cairn chunkserver`.

use std::path::PathBuf;

use anyhow::Result;
use cairn_chunkserver::{Chunkserver, ChunkserverConfig};
use cairn_runtime::shutdown::Shutdown;
use clap::Args;
use toml::{Table, Value};

use crate::daemon_args::{DaemonArgs, flag};
use crate::out::announce;

/// Variables that start with it are settings.
const PREFIX: &str = "CAIRN_CHUNKSERVER_";

#[derive(Debug, Args)]
pub struct ChunkserverArgs {
    /// Where the chunks are kept; given several times, each is a disk that may fail by itself
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// Where clients and other chunkservers connect; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// The metaserver; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    pub meta: Vec<String>,
    /// A name for people; the host's name by default
    #[arg(long)]
    pub name: Option<String>,
    /// What to say of where the server stands and what it is, as in rack=r1; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Where /healthz and /readyz are answered; empty for nowhere
    #[arg(long, value_name = "HOST:PORT")]
    pub health: Option<String>,
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

pub fn run(args: ChunkserverArgs) -> Result<()> {
    args.daemon.start_logging()?;
    let config: ChunkserverConfig = args.daemon.load(PREFIX, args.flags())?;
    super::serve(async {
        let server = Chunkserver::start(config).await?;
        let health = server.health_address().map(|a| format!(", health at http://{a}")).unwrap_or_default();
        announce!("cairn chunkserver serves at {}{health}", server.endpoint());
        let shutdown = Shutdown::new();
        shutdown.trigger_on_signals()?;
        server.serve(shutdown.clone()).await?;
        Ok(shutdown.finish(super::DRAIN_LIMIT).await?)
    })
}

impl ChunkserverArgs {
    fn flags(&self) -> Table {
        let mut flags = Table::new();
        flag(&mut flags, "data_dir", list(&self.data.iter().map(|d| d.display().to_string()).collect::<Vec<_>>()));
        flag(&mut flags, "listen", self.listen.clone());
        flag(&mut flags, "name", self.name.clone());
        flag(&mut flags, "health_listen", self.health.clone());
        flag(&mut flags, "metaservers", list(&self.meta));
        flag(&mut flags, "labels", list(&self.label));
        flags
    }
}

/// A flag that may be given several times, where it was given.
fn list(texts: &[String]) -> Option<Value> {
    (!texts.is_empty()).then(|| Value::Array(texts.iter().cloned().map(Value::String).collect()))
}
