//! `cairn repair`: how fast chunks are repaired, and whether at all.

use anyhow::{Result, bail};
use cairn_proto::admin::{RepairStatus, TunablesChange};
use clap::{Args, Subcommand};

use super::status;
use crate::admin::Admin;
use crate::args::StatusArgs;
use crate::out::say;
use crate::target;
use crate::view::print_json;
use crate::view::repair::RepairView;

#[derive(Debug, Subcommand)]
pub enum RepairCommand {
    /// Show how far repair is
    Status(StatusArgs),
    /// Begin no copy from now on: what is at risk stays so
    Pause(StatusArgs),
    /// Let it go on
    Resume(StatusArgs),
    /// Say how many bytes may be copied per second, until somebody says otherwise
    Limit(LimitArgs),
}

#[derive(Debug, Args)]
pub struct LimitArgs {
    /// In the whole cluster, as in 200MiB; `none` for no limit
    #[arg(value_name = "BYTES", value_parser = rate)]
    pub cluster: Option<u64>,
    /// To and from one server; while clients keep it busy, a quarter of it
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    pub server: Option<u64>,
    #[command(flatten)]
    pub plain: StatusArgs,
}

/// Bytes per second; 0 is no limit.
fn rate(text: &str) -> Result<u64, String> {
    match text {
        "none" => Ok(0),
        text => match parse_size::parse_size(text) {
            Ok(0) => Err("nothing would ever be repaired: `cairn repair pause` does that".to_owned()),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(format!("{error}: write a size, as in 200MiB, or `none`")),
        },
    }
}

pub async fn run(command: RepairCommand) -> Result<()> {
    let (args, change) = match command {
        RepairCommand::Status(args) => (args, TunablesChange::default()),
        RepairCommand::Pause(args) => (args, TunablesChange { repair_paused: Some(true), ..Default::default() }),
        RepairCommand::Resume(args) => (args, TunablesChange { repair_paused: Some(false), ..Default::default() }),
        RepairCommand::Limit(LimitArgs { cluster: None, server: None, .. }) => {
            bail!("nothing to limit: give BYTES for the cluster, or --server BYTES")
        }
        RepairCommand::Limit(LimitArgs { cluster, server, plain }) => {
            let (repair_bytes_per_s, repair_server_bytes_per_s) = (cluster, server);
            let change = TunablesChange { repair_bytes_per_s, repair_server_bytes_per_s, repair_paused: None };
            (plain, change)
        }
    };
    let admin = Admin::connect(target::metaserver(args.meta.meta)?).await?;
    let view = RepairView::from(tune(&admin, change).await?);
    if args.json {
        return print_json(&view);
    }
    say!("{view}");
    Ok(())
}

async fn tune(admin: &Admin, change: TunablesChange) -> Result<RepairStatus> {
    if change == TunablesChange::default() {
        return Ok(status::ask(admin).await?.repair);
    }
    admin.call("repair", |client, context| async move { client.tune(context, change).await }).await
}
