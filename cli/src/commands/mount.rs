//! `cairn mount`: in the background by default, as mount(8) expects of its helpers.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result};
use cairn_client::config::{ClientConfig, MountConfig};
use cairn_client::mount::Mount;
use cairn_proto::transport::Endpoint;
use cairn_runtime::shutdown::Shutdown;
use clap::Args;
use nix::mount::MsFlags;
use toml::Table;

use crate::background;
use crate::daemon_args::DaemonArgs;

/// Variables that start with it are settings.
const PREFIX: &str = "CAIRN_MOUNT_";

#[derive(Debug, Args)]
pub struct MountArgs {
    /// The metaserver, as host:port
    pub meta: Endpoint,
    /// An existing directory
    pub mountpoint: PathBuf,
    /// Mount options, separated by commas: ro, noatime, attr_ttl_ms=1000 … see docs/operations.md
    #[arg(short, value_name = "OPTIONS")]
    pub options: Vec<String>,
    /// Stay in the foreground, log to stderr
    #[arg(short, long)]
    pub foreground: bool,
    /// Where to log when in the background
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Check the options, but do not mount
    #[arg(long, hide = true)]
    pub fake: bool,
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

pub fn run(mut args: MountArgs) -> Result<()> {
    let mut remount = false;
    for options in &mut args.options {
        let (kept, dropped): (Vec<&str>, Vec<&str>) = options.split(',').partition(|o| !is_kernels(o));
        remount |= dropped.contains(&"remount");
        *options = kept.join(",");
    }
    let config = args.config()?;
    if remount {
        return change_flags(&config);
    }
    if args.fake {
        return Ok(());
    }
    if args.foreground { serve(&args.daemon, config) } else { start_in_background(&args) }
}

/// Not a setting of the client: `remount`, and what the mount table shows of a FUSE mount and mount(8) passes back.
fn is_kernels(option: &str) -> bool {
    let shown = ["user_id=", "group_id=", "rootmode=", "fd=", "max_read=", "blksize="];
    option == "remount" || shown.iter().any(|prefix| option.starts_with(prefix))
}

fn serve(daemon: &DaemonArgs, config: MountConfig) -> Result<()> {
    daemon.start_logging()?;
    super::serve(async {
        let mut what = format!("cairn#{} is mounted at {}", config.metaserver, config.mountpoint.display());
        let shutdown = Shutdown::new();
        shutdown.trigger_on_signals()?;
        let mount = Mount::start(config).await?;
        if let Some(address) = mount.health_address() {
            what += &format!(", health at http://{address}");
        }
        println!("{what}");
        tokio::select! {
            () = shutdown.stopping() => {}
            () = mount.ended() => {}
        }
        Ok(mount.stop().await?)
    })
}

fn start_in_background(args: &MountArgs) -> Result<()> {
    let log = args.log_file.clone().unwrap_or_else(|| background::default_log(&args.mountpoint));
    let mut again: Vec<OsString> = vec!["mount".into(), args.meta.to_string().into(), args.mountpoint.clone().into()];
    again.push("--foreground".into());
    for options in args.options.iter().filter(|o| !o.is_empty()) {
        again.extend(["-o".into(), options.into()]);
    }
    if let Some(config) = &args.daemon.config {
        again.extend(["--config".into(), config.into()]);
    }
    for setting in &args.daemon.set {
        again.extend(["--set".into(), setting.into()]);
    }
    if let Some(level) = &args.daemon.log {
        again.extend(["--log".into(), level.into()]);
    }
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
    fn config(&self) -> Result<MountConfig> {
        let mut client: ClientConfig = self.daemon.load(PREFIX, Table::new())?;
        for options in &self.options {
            client.apply_options(options)?;
        }
        client.validate()?;
        // The child may have another directory, and messages should say where.
        let mountpoint = std::path::absolute(&self.mountpoint)
            .with_context(|| format!("the mount point {}", self.mountpoint.display()))?;
        Ok(MountConfig { metaserver: self.meta.clone(), mountpoint, client })
    }
}
