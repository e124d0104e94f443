//! `cairn scrub`: how far the verification of all copies is, and having it done now.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use cairn_proto::admin::{ServerState, ServerStatus};
use cairn_proto::scrub::ScrubOrder;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{server, status};
use crate::admin::Admin;
use crate::args::StatusArgs;
use crate::out::say;
use crate::target;
use crate::view::scrub::ScrubView;
use crate::view::{bytes, print_json};

/// Between two looks at how far the passes are.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub enum ScrubCommand {
    /// Show how far the passes are, what they found, and when the last full ones were
    Status(StatusArgs),
    /// Have a pass over all copies begin now
    Start(StartArgs),
}

#[derive(Debug, Args)]
pub struct StartArgs {
    /// Chunkservers by name or id; without any, all that are up
    pub servers: Vec<String>,
    /// Bytes to read per second and server, as in 50MiB; otherwise as fast as goes while clients do not need the disk
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    pub rate: Option<u64>,
    /// Return when the passes are over; exit code 1 where they found damage
    #[arg(short, long)]
    pub wait: bool,
    #[command(flatten)]
    pub plain: StatusArgs,
}

fn rate(text: &str) -> Result<u64, String> {
    match parse_size::parse_size(text) {
        Ok(0) => Err("at no bytes a second it never ends".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(format!("{error}: write a size, as in 50MiB")),
    }
}

/// One server, as JSON.
#[derive(Debug, Serialize)]
struct Line {
    id: String,
    name: String,
    scrub: ScrubView,
}

impl From<&ServerStatus> for Line {
    fn from(server: &ServerStatus) -> Self {
        Self { id: server.server.to_string(), name: server.name.clone(), scrub: server.scrub.into() }
    }
}

/// Returns whether all is well.
pub async fn run(command: ScrubCommand) -> Result<bool> {
    match command {
        ScrubCommand::Status(args) => {
            let admin = Admin::connect(target::metaserver(args.meta.meta)?).await?;
            let found = status::ask(&admin).await?;
            if args.json {
                print_json(&found.servers.iter().map(Line::from).collect::<Vec<_>>())?;
            } else {
                crate::view::status::StatusView::from(found).print_scrubs();
            }
            Ok(true)
        }
        ScrubCommand::Start(args) => start(args).await,
    }
}

async fn start(args: StartArgs) -> Result<bool> {
    let admin = Admin::connect(target::metaserver(args.plain.meta.meta.clone())?).await?;
    let servers = chosen(status::ask(&admin).await?.servers, &args.servers)?;
    let order = ScrubOrder { bytes_per_s: args.rate };
    for meant in &servers {
        let (server, name) = (meant.server, &meant.name);
        let call = |client: crate::admin::Client, context| async move { client.scrub(context, server, order).await };
        admin.call("cannot scrub", call).await?;
        if !args.plain.json {
            let speed = args.rate.map_or_else(|| "at full speed".to_owned(), |rate| format!("at {}/s", bytes(rate)));
            say!("{name} reads and verifies all its copies {speed}");
        }
    }
    let (ended, is_well) = match args.wait {
        true => wait(&admin, &servers, args.plain.json).await?,
        false => (servers, true),
    };
    if args.plain.json {
        print_json(&ended.iter().map(Line::from).collect::<Vec<_>>())?;
    } else if !args.wait {
        say!("`cairn scrub status` shows how far they are");
    }
    Ok(is_well)
}

/// The servers that are meant by name, or all that are up.
fn chosen(servers: Vec<ServerStatus>, wanted: &[String]) -> Result<Vec<ServerStatus>> {
    if !wanted.is_empty() {
        return wanted.iter().map(|name| server::choose(servers.clone(), name)).collect();
    }
    let is_up = |s: &ServerStatus| matches!(s.state, ServerState::Healthy | ServerState::Draining);
    let up: Vec<_> = servers.into_iter().filter(is_up).collect();
    if up.is_empty() { bail!("no chunkserver is up") } else { Ok(up) }
}

/// Waits until the passes of `started` are over. Answers how they ended, and whether they found nothing.
async fn wait(admin: &Admin, started: &[ServerStatus], quiet: bool) -> Result<(Vec<ServerStatus>, bool)> {
    let mut open: Vec<&ServerStatus> = started.iter().collect();
    let (mut ended, mut damaged) = (Vec::new(), 0);
    while !open.is_empty() {
        tokio::time::sleep(POLL).await;
        let servers = status::ask(admin).await?.servers;
        let mut still = Vec::new();
        for before in open {
            let now = servers.iter().find(|s| s.server == before.server);
            let now = now.with_context(|| format!("{} was removed meanwhile", before.name))?;
            if matches!(now.state, ServerState::Dead) {
                bail!("{} is dead: its pass goes on when it is back", now.name);
            }
            match now.scrub.last {
                // A pass that was under way before ended early, by this one.
                Some(last) if before.scrub.last != Some(last) => {
                    damaged += last.damaged;
                    if !quiet {
                        say!("{}: {} read, {} damaged blocks", now.name, bytes(last.verified), last.damaged);
                    }
                    ended.push(now.clone());
                }
                Some(_) | None => still.push(before),
            }
        }
        open = still;
    }
    Ok((ended, damaged == 0))
}
