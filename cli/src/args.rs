//! The command line. One binary, `cairn`; `mount.cairn` is the same under another name (see [`crate::mount_helper`]).

use std::path::PathBuf;

use cairn_proto::labels::Domain;
use cairn_proto::policy::{Durability, Retention};
use cairn_proto::transport::Endpoint;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{chunkserver, metaserver, mount, repair, scrub, server, simulate, trash, up};

#[derive(Debug, Parser)]
#[command(name = "cairn", version, about = "CairnFS: a distributed file system that you mount", max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a whole cluster in this process and mount it; Ctrl-C ends it, the data stays
    Up(up::UpArgs),
    /// Run a metaserver
    Metaserver(metaserver::MetaserverArgs),
    /// Run a chunkserver
    Chunkserver(chunkserver::ChunkserverArgs),
    /// Mount a file system
    Mount(mount::MountArgs),
    /// See [`crate::guard`]
    #[command(name = crate::guard::COMMAND, hide = true)]
    Guard,
    /// Unmount a file system: writes what is buffered, works while servers are down
    Umount(UmountArgs),
    /// Wait until everything that was done on a mount of this machine is on stable storage (`sync` does not wait for it)
    Sync(SyncArgs),
    /// Show servers, space, chunks and what is wrong with them
    Status(StatusArgs),
    /// Show what the metaserver was asked since it started: how often, how it went, how long it took
    Stats(StatsArgs),
    /// Show what is known of a file or directory: inode, policy, every chunk with its replicas
    Info(InfoArgs),
    /// Show space by server
    Df(StatusArgs),
    /// Show or change what a directory asks for its files
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Show what was removed, restore it, or remove it for good
    #[command(subcommand)]
    Trash(trash::TrashCommand),
    /// Look after chunkservers: drain, maintain, remove them
    #[command(subcommand)]
    Server(server::ServerCommand),
    /// Say what would be if servers failed, were drained, or came; nothing is touched
    #[command(subcommand)]
    Simulate(simulate::SimulateCommand),
    /// Pause repair, let it go on, say how fast it may be
    #[command(subcommand)]
    Repair(repair::RepairCommand),
    /// Have chunkservers read and verify every copy, and show how far they are
    #[command(subcommand)]
    Scrub(scrub::ScrubCommand),
    /// Check the metadata and every copy of every chunk; exit code 1 where something is wrong
    Fsck(FsckArgs),
    /// Make the metaserver take a checkpoint now
    Checkpoint(CheckpointArgs),
}

/// Where the metaserver is.
#[derive(Debug, Args)]
pub struct MetaArg {
    /// The metaserver, as host:port; without it, that of the mount in question, or of the only mount on this machine
    #[arg(long, env = "CAIRN_META", value_name = "HOST:PORT")]
    pub meta: Option<Endpoint>,
}

#[derive(Debug, Args)]
pub struct UmountArgs {
    /// Where it is mounted
    pub mountpoint: PathBuf,
    /// Take the mount away at once, even if files are in use; what is buffered is still written if the servers answer
    #[arg(short, long)]
    pub lazy: bool,
    /// The same, and calls of programs that use it fail from now on, those that wait for servers included
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct SyncArgs {
    /// Any file or directory on the mount
    #[arg(default_value = ".")]
    pub path: PathBuf,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub meta: MetaArg,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Times are those of handling a call, waiting included: calls that wait by design are marked.")]
pub struct StatsArgs {
    /// The metaserver as host:port, or a path on a mount of it; without it, what --meta says
    #[arg(value_name = "META_OR_PATH")]
    pub place: Option<PathBuf>,
    #[command(flatten)]
    pub meta: MetaArg,
    /// Show what happens, every so many seconds (1 unless said otherwise), until Ctrl-C
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub watch: Option<u32>,
    /// Print JSON; with --watch a line for each interval
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct InfoArgs {
    /// A path on a mount; with --meta, a path from the root of the file system
    pub path: PathBuf,
    #[command(flatten)]
    pub meta: MetaArg,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Change a directory's policy: what is created in it from now on takes it
    Set(PolicySetArgs),
    /// Show the policy of a file or directory
    Show(InfoArgs),
}

#[derive(Debug, Args)]
pub struct PolicySetArgs {
    /// A path on a mount; with --meta, a path from the root of the file system
    pub path: PathBuf,
    /// Copies of every chunk
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=i64::from(cairn_proto::chunk::MAX_COPIES)))]
    pub copies: Option<u8>,
    /// When written bytes must be on stable storage
    #[arg(long)]
    pub durability: Option<DurabilityArg>,
    /// Each copy in another rack, zone or region; `none`: spread as far as there are some
    #[arg(long, value_name = "DOMAIN")]
    pub spread: Option<SpreadArg>,
    /// Copies only on servers with this label, as in class=ssd; may be given several times, `none` for any server
    #[arg(long, value_name = "KEY=VALUE")]
    pub on: Vec<String>,
    /// Where the servers cannot give what is asked for, take what they can give
    #[arg(long, overrides_with = "strict")]
    pub loose: bool,
    /// The opposite of --loose
    #[arg(long)]
    pub strict: bool,
    /// Keep what is removed here for so long, as in 7d; `off`: what is removed is gone. Directories only
    #[arg(long, value_name = "TIME", value_parser = parse_retention)]
    pub trash: Option<Retention>,
    /// Everything below, too: existing files get more copies, or fewer, in the background
    #[arg(short, long)]
    pub recursive: bool,
    #[command(flatten)]
    pub meta: MetaArg,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// [`Domain`] as a word.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SpreadArg {
    None,
    Rack,
    Zone,
    Region,
}

impl From<SpreadArg> for Option<Domain> {
    fn from(arg: SpreadArg) -> Self {
        match arg {
            SpreadArg::None => None,
            SpreadArg::Rack => Some(Domain::Rack),
            SpreadArg::Zone => Some(Domain::Zone),
            SpreadArg::Region => Some(Domain::Region),
        }
    }
}

/// [`Durability`] as a word.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DurabilityArg {
    /// At fsync, as on a local disk
    Fsync,
    /// When close has returned, too
    Close,
    /// When write has returned
    Write,
}

impl From<DurabilityArg> for Durability {
    fn from(arg: DurabilityArg) -> Self {
        match arg {
            DurabilityArg::Fsync => Self::Fsync,
            DurabilityArg::Close => Self::Close,
            DurabilityArg::Write => Self::Write,
        }
    }
}

/// In the place of a time: nothing is kept.
const TRASH_OFF: &str = "off";

fn parse_retention(text: &str) -> Result<Retention, String> {
    if text == TRASH_OFF {
        return Ok(Retention::OFF);
    }
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; it is a time as in 7d, or `off`"))?;
    // Less than a second is not the same as nothing.
    let secs = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(secs).map(Retention).map_err(|_| "136 years at most".to_owned())
}

#[derive(Debug, Args)]
pub struct FsckArgs {
    /// Read every block of every copy, too
    #[arg(long)]
    pub data: bool,
    /// Have repaired what can be repaired, and wait for it; exit code 0 where nothing is wrong any more
    #[arg(long)]
    pub repair: bool,
    #[command(flatten)]
    pub meta: MetaArg,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CheckpointArgs {
    #[command(flatten)]
    pub meta: MetaArg,
}
