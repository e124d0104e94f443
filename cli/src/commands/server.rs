//! `cairn server`: what operators do with chunkservers.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use cairn_proto::admin::{ServerMode, ServerStatus};
use cairn_proto::time::Timestamp;
use clap::{Args, Subcommand};

use super::status;
use crate::admin::Admin;
use crate::args::{MetaArg, StatusArgs};
use crate::out::say;
use crate::target;
use crate::view::{bytes, print_json};

/// Between two looks at how far a drain is.
const POLL: Duration = Duration::from_secs(2);
/// Maintenance lasts so long at most: longer, and it is the loss of a server that nobody repairs.
const LONGEST_MAINTENANCE: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Show the chunkservers, their labels, and what is to become of them
    List(StatusArgs),
    /// Make all copies of a chunkserver elsewhere, so that it can be taken away
    Drain(DrainArgs),
    /// Let a chunkserver be away for a while: nothing is repaired around it, nothing new placed on it
    Maintenance(MaintenanceArgs),
    /// Put a chunkserver back into service: the end of a drain, or of maintenance
    Resume(ServerArgs),
    /// Forget a chunkserver that is gone for good
    Remove(ServerArgs),
}

#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Name or id of the chunkserver
    pub server: String,
    #[command(flatten)]
    pub meta: MetaArg,
}

#[derive(Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// Return when nothing is left on it
    #[arg(short, long)]
    pub wait: bool,
}

#[derive(Debug, Args)]
pub struct MaintenanceArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// How long at most, as in 30m or 2h
    #[arg(long = "for", value_name = "TIME", default_value = "30m", value_parser = humantime::parse_duration)]
    pub time: Duration,
}

pub async fn run(command: ServerCommand) -> Result<()> {
    match command {
        ServerCommand::List(args) => list(args).await,
        ServerCommand::Drain(args) => drain(args).await,
        ServerCommand::Maintenance(args) => maintain(args).await,
        ServerCommand::Resume(args) => {
            let chosen = Chosen::find(args).await?;
            chosen.set_mode(ServerMode::InService).await?;
            say!("{} is in service again", chosen.name());
            Ok(())
        }
        ServerCommand::Remove(args) => remove(args).await,
    }
}

async fn list(args: StatusArgs) -> Result<()> {
    let view = status::fetch(&args).await?;
    if args.json {
        return print_json(&view.servers);
    }
    view.print_places();
    Ok(())
}

async fn drain(args: DrainArgs) -> Result<()> {
    let chosen = Chosen::find(args.server).await?;
    chosen.set_mode(ServerMode::Draining).await?;
    say!("{} is being drained: {} copies are to be made elsewhere", chosen.name(), chosen.status.chunks);
    say!("`cairn status` shows how far that is; `cairn server resume {}` ends it", chosen.name());
    if args.wait { chosen.wait_until_empty().await } else { Ok(()) }
}

async fn maintain(args: MaintenanceArgs) -> Result<()> {
    if args.time > LONGEST_MAINTENANCE {
        bail!("--for: 30 days at most; to take a server away for longer, drain it");
    }
    let chosen = Chosen::find(args.server).await?;
    let until = Timestamp::now().saturating_add(args.time);
    chosen.set_mode(ServerMode::Maintenance { until, announced: false }).await?;
    let time = humantime::format_duration(args.time);
    say!("{} may be away for {time}: nothing is repaired around it until then", chosen.name());
    say!("`cairn server resume {}` ends it earlier", chosen.name());
    Ok(())
}

async fn remove(args: ServerArgs) -> Result<()> {
    let chosen = Chosen::find(args).await?;
    let server = chosen.status.server;
    let call = |client: crate::admin::Client, context| async move { client.remove_server(context, server).await };
    chosen.admin.call("cannot remove it", call).await?;
    say!("{} is forgotten; its data directory can be deleted", chosen.name());
    Ok(())
}

/// A chunkserver that was named on the command line.
struct Chosen {
    admin: Admin,
    status: ServerStatus,
}

impl Chosen {
    async fn find(args: ServerArgs) -> Result<Self> {
        let admin = Admin::connect(target::metaserver(args.meta.meta)?).await?;
        let servers = status::ask(&admin).await?.servers;
        let status = choose(servers, &args.server)?;
        Ok(Self { admin, status })
    }

    fn name(&self) -> &str {
        &self.status.name
    }

    async fn set_mode(&self, mode: ServerMode) -> Result<()> {
        let server = self.status.server;
        let call =
            |client: crate::admin::Client, context| async move { client.set_server_mode(context, server, mode).await };
        self.admin.call(self.name(), call).await
    }

    /// A census that began after the drain must have found nothing on it: two of them in a row, so that one did.
    async fn wait_until_empty(&self) -> Result<()> {
        let mut empty = 0;
        let mut before = None;
        while empty < 2 {
            tokio::time::sleep(POLL).await;
            let servers = status::ask(&self.admin).await?.servers;
            let server = servers.into_iter().find(|s| s.server == self.status.server);
            let server = server.with_context(|| format!("{} was removed meanwhile", self.name()))?;
            if server.mode != ServerMode::Draining {
                bail!("{} is not being drained any more: somebody ended it", self.name());
            }
            empty = if server.to_move == 0 && server.space.used == 0 { empty + 1 } else { 0 };
            if before.replace(server.to_move) != Some(server.to_move) {
                say!("{} copies to go, {} used", server.to_move, bytes(server.space.used));
            }
        }
        say!("{} is empty: stop it, then `cairn server remove {}`", self.name(), self.name());
        Ok(())
    }
}

/// By name where that is unique, or by id.
pub fn choose(servers: Vec<ServerStatus>, wanted: &str) -> Result<ServerStatus> {
    let names = || servers.iter().map(|s| s.name.clone()).collect::<Vec<_>>().join(", ");
    let is_meant = |s: &&ServerStatus| s.name == wanted || s.server.to_string() == wanted;
    let meant: Vec<_> = servers.iter().filter(is_meant).collect();
    match meant.as_slice() {
        [one] => Ok((*one).clone()),
        [] => bail!("no chunkserver is called {wanted}; there are {}", names()),
        several => {
            let ids: Vec<_> = several.iter().map(|s| s.server.to_string()).collect();
            bail!("several chunkservers are called {wanted}: say which by its id ({})", ids.join(", "))
        }
    }
}
