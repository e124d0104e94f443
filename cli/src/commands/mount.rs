//! `cairn mount`: in the background by default, as mount(8) expects of its helpers.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result};
use cairn_client::config::{ClientConfig, MountConfig};
use cairn_client::mount::Mount;
use cairn_proto::ids::SessionId;
use cairn_proto::transport::Endpoint;
use cairn_runtime::shutdown::Shutdown;
use clap::Args;
use nix::mount::MsFlags;
use toml::Table;

use crate::background;
use crate::daemon_args::DaemonArgs;
use crate::guard::Guard;
use crate::mountinfo::real_path;
use crate::out::announce;
use crate::supervise::Supervised;

/// What stands before the number of the session in the line that a mount says when it is there.
pub const SESSION: &str = ", session ";

/// Variables that start with it are settings.
const PREFIX: &str = "CAIRN_MOUNT_";

#[derive(Debug, Args)]
pub struct MountArgs {
    /// The metaserver, as host:port
    pub meta: Endpoint,
    /// An existing directory
    pub mountpoint: PathBuf,
    /// Mount options, separated by commas: ro, noatime, cache_mib=1024 … see docs/operations.md
    #[arg(short, value_name = "OPTIONS")]
    pub options: Vec<String>,
    /// Stay in the foreground, log to stderr
    #[arg(short, long)]
    pub foreground: bool,
    /// Mount again whenever the client is killed or crashes, from a small process that watches it; also as -o supervise
    #[arg(long)]
    pub supervise: bool,
    /// Where to log when in the background
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// The session of the client that this one takes the place of: for --supervise
    #[arg(long, value_name = "SESSION", hide = true)]
    pub successor_of: Option<u64>,
    /// Check the options, but do not mount
    #[arg(long, hide = true)]
    pub fake: bool,
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// The options that are no settings of the client, but of this command.
const REMOUNT: &str = "remount";
const SUPERVISE: &str = "supervise";

/// Answers whether all was well; where it was not and there is no error, that has been told.
pub fn run(mut args: MountArgs) -> Result<bool> {
    let mut remount = false;
    for options in &mut args.options {
        let (kept, dropped): (Vec<&str>, Vec<&str>) = options.split(',').partition(|o| !is_ours(o));
        remount |= dropped.contains(&REMOUNT);
        args.supervise |= dropped.contains(&SUPERVISE);
        *options = kept.join(",");
    }
    let config = args.config()?;
    if remount {
        return change_flags(&config).map(|()| true);
    }
    if args.fake {
        return Ok(true);
    }
    match (args.foreground, args.supervise) {
        (true, true) => supervise(&args, config),
        (true, false) => serve(&args.daemon, config).map(|()| true),
        (false, _) => start_in_background(&args).map(|()| true),
    }
}

/// Not a setting of the client: this command's own options, and what the mount table shows of a FUSE mount and mount(8) passes back.
fn is_ours(option: &str) -> bool {
    let shown = ["user_id=", "group_id=", "rootmode=", "fd=", "max_read=", "blksize="];
    [REMOUNT, SUPERVISE].contains(&option) || shown.iter().any(|prefix| option.starts_with(prefix))
}

fn serve(daemon: &DaemonArgs, config: MountConfig) -> Result<()> {
    daemon.start_logging()?;
    super::serve(async {
        let mut what = format!("cairn#{} is mounted at {}", config.metaserver, config.mountpoint.display());
        let shutdown = Shutdown::new();
        shutdown.trigger_on_signals()?;
        let mount = Mount::start(config).await?;
        let guard = Guard::start(mount.connection());
        if let Some(session) = mount.session() {
            what += &format!("{SESSION}{}", session.0);
        }
        if let Some(address) = mount.health_address() {
            what += &format!(", health at http://{address}");
        }
        announce!("{what}");
        tokio::select! {
            () = shutdown.stopping() => {}
            () = mount.ended() => {}
        }
        let stopped = mount.stop().await;
        guard.dismiss();
        Ok(stopped?)
    })
}

fn supervise(args: &MountArgs, config: MountConfig) -> Result<bool> {
    args.daemon.start_logging()?;
    let mountpoint = real_path(&config.mountpoint);
    let supervised = Supervised { metaserver: config.metaserver, mountpoint, client: args.in_foreground() };
    crate::wait_for(supervised.run(|| args.config().map(drop)))
}

fn start_in_background(args: &MountArgs) -> Result<()> {
    let log = args.log_file.clone().unwrap_or_else(|| background::default_log(&args.mountpoint));
    let mut again = args.in_foreground();
    again.extend(args.supervise.then(|| "--supervise".into()));
    background::start(&again, &log).map(|_| ())
}

/// `mount -o remount,ro` and back: the kernel's affair alone.
fn change_flags(config: &MountConfig) -> Result<()> {
    let mut flags = MsFlags::MS_REMOUNT;
    for (wanted, flag) in [
        (config.client.read_only, MsFlags::MS_RDONLY),
        (config.client.noatime, MsFlags::MS_NOATIME),
        (config.client.nosuid, MsFlags::MS_NOSUID),
        (config.client.nodev, MsFlags::MS_NODEV),
        (config.client.noexec, MsFlags::MS_NOEXEC),
    ] {
        flags.set(flag, wanted);
    }
    nix::mount::mount(None::<&str>, &config.mountpoint, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("cannot remount {}", config.mountpoint.display()))
}

impl MountArgs {
    /// The same as arguments for `cairn`, in the foreground.
    fn in_foreground(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> =
            vec!["mount".into(), self.meta.to_string().into(), self.mountpoint.clone().into()];
        args.push("--foreground".into());
        for options in self.options.iter().filter(|o| !o.is_empty()) {
            args.extend(["-o".into(), options.into()]);
        }
        args.extend(self.daemon.as_arguments());
        args
    }

    fn config(&self) -> Result<MountConfig> {
        let mut client: ClientConfig = self.daemon.load(PREFIX, Table::new())?;
        for options in &self.options {
            client.apply_options(options)?;
        }
        client.validate()?;
        // The child may have another directory, and messages should say where.
        let mountpoint = std::path::absolute(&self.mountpoint)
            .with_context(|| format!("the mount point {}", self.mountpoint.display()))?;
        let successor_of = self.successor_of.map(SessionId);
        Ok(MountConfig { metaserver: self.meta.clone(), mountpoint, successor_of, client })
    }
}
