//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::scale::Scale;
use crate::target::TargetKind;
use crate::worker::Creation;

/// Runs the same workloads on CairnFS and its peers. Start it through `bench/run`, which prepares the machine.
#[derive(Debug, Parser)]
#[command(name = "cairn-bench", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure, print a table and write results.json and results.md.
    Run(RunArguments),
    /// Name the workloads.
    List,
    /// Create files when told to on standard input; started by `run`.
    #[command(hide = true)]
    Worker(Creation),
}

#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// What to compare, in this order in the first round.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["local", "null", "moosefs", "moosefs-durable", "cairn"])]
    pub targets: Vec<TargetKind>,
    /// Only these workloads, by name.
    #[arg(long, value_delimiter = ',')]
    pub workloads: Vec<String>,
    /// Rounds over all targets; the results are medians over them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Do little of everything: shows that all runs, measures nothing well.
    #[arg(long)]
    pub quick: bool,
    /// Size of the large file, in MiB.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub stream_mib: Option<u64>,
    /// A directory on the disk under test; everything is made below it.
    #[arg(long)]
    pub work: PathBuf,
    /// Where results and the logs of daemons go.
    #[arg(long)]
    pub out: PathBuf,
    /// The cairn binary; by default the one beside this program.
    #[arg(long)]
    pub cairn: Option<PathBuf>,
    /// The binary of the null filesystem; by default the one beside this program.
    #[arg(long)]
    pub null_fuse: Option<PathBuf>,
    /// How long one workload on one target may take, in seconds, before the run is given up.
    #[arg(long, default_value_t = 900)]
    pub limit_s: u64,
}

impl RunArguments {
    pub fn scale(&self) -> Scale {
        let mut scale = if self.quick { Scale::quick() } else { Scale::full() };
        if let Some(mebibytes) = self.stream_mib {
            scale.stream_bytes = mebibytes << 20;
        }
        scale
    }

    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.limit_s)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run(arguments: &[&str]) -> RunArguments {
        let base = ["cairn-bench", "run", "--work", "/work", "--out", "/out"];
        let parsed = Arguments::try_parse_from(base.iter().chain(arguments)).unwrap();
        let Command::Run(run) = parsed.command else { panic!("not a run") };
        run
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn everything_is_compared_unless_chosen() {
        let all = run(&[]);
        let of_moosefs = [TargetKind::Moosefs, TargetKind::MoosefsDurable];
        assert_eq!(
            all.targets,
            [&[TargetKind::Local, TargetKind::Null], &of_moosefs[..], &[TargetKind::Cairn]].concat()
        );
        assert_eq!((all.rounds, all.scale()), (3, Scale::full()));
        let chosen = run(&["--targets", "cairn,moosefs-durable", "--workloads", "stat,list", "--rounds", "1"]);
        assert_eq!(chosen.targets, [TargetKind::Cairn, TargetKind::MoosefsDurable]);
        assert_eq!(chosen.workloads, ["stat", "list"]);
    }

    #[test]
    fn the_stream_can_be_sized_apart_from_the_scale() {
        let scale = run(&["--quick", "--stream-mib", "256"]).scale();
        assert_eq!(scale, Scale { stream_bytes: 256 << 20, ..Scale::quick() });
    }
}
