//! `cairn simulate`: what would be if.

use anyhow::Result;
use cairn_proto::ids::ChunkHandle;
use cairn_proto::labels::Labels;
use cairn_proto::simulation::{Scenario, Subject};
use clap::{Args, Subcommand};

use crate::admin::Admin;
use crate::args::MetaArg;
use crate::target;
use crate::view::print_json;
use crate::view::simulation::SimulationView;

#[derive(Debug, Subcommand)]
pub enum SimulateCommand {
    /// They fail, all at once and for good: what is lost, unreadable, or at fewer copies
    Fail(SubjectsArgs),
    /// They are drained: what moves, and whether there is room for it
    Drain(SubjectsArgs),
    /// New servers come: how full all are then
    Add(AddArgs),
}

#[derive(Debug, Args)]
pub struct SubjectsArgs {
    /// Servers by name, or by label, as in rack=r2; disks by SERVER:NUMBER, directory or id, as in disk=c1:0
    #[arg(required = true, value_name = "SERVER|KEY=VALUE|disk=NAME", value_parser = subject)]
    pub subjects: Vec<Subject>,
    #[command(flatten)]
    pub plain: PlainArgs,
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// How many
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub servers: u32,
    /// Size of each, as in 10TiB
    #[arg(long, value_name = "BYTES", value_parser = |text: &str| parse_size::parse_size(text))]
    pub size: u64,
    #[command(flatten)]
    pub plain: PlainArgs,
}

#[derive(Debug, Args)]
pub struct PlainArgs {
    /// Files to name at most, the worst hit first
    #[arg(long, default_value_t = 20)]
    pub files: usize,
    #[command(flatten)]
    pub meta: MetaArg,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A name, labels, or a disk.
fn subject(text: &str) -> Result<Subject, String> {
    match text.strip_prefix("disk=") {
        Some("") => return Err("say which disk, as in disk=c1:0 (see `cairn server list`)".to_owned()),
        Some(name) => return Ok(Subject::Disk(name.to_owned())),
        None => {}
    }
    if !text.contains('=') {
        return Ok(Subject::Server(text.to_owned()));
    }
    text.parse::<Labels>().map(Subject::Labels).map_err(|error| error.to_string())
}

pub async fn run(command: SimulateCommand) -> Result<()> {
    let (scenario, args) = match command {
        SimulateCommand::Fail(SubjectsArgs { subjects, plain }) => (Scenario::Fail(subjects), plain),
        SimulateCommand::Drain(SubjectsArgs { subjects, plain }) => (Scenario::Drain(subjects), plain),
        SimulateCommand::Add(AddArgs { servers, size, plain }) => (Scenario::Add { servers, size }, plain),
    };
    let admin = Admin::connect(target::metaserver(args.meta.meta)?).await?;
    let mut view = SimulationView::new(scenario.clone(), args.files);
    let mut after = Some(ChunkHandle(0));
    while let Some(from) = after {
        let scenario = scenario.clone();
        let call =
            |client: crate::admin::Client, context| async move { client.simulate(context, scenario, from).await };
        let page = admin.call("cannot simulate that", call).await?;
        after = page.resume;
        view.add(page);
    }
    if args.json {
        return print_json(&view.finished());
    }
    view.finished().print();
    Ok(())
}
