//! `cairn up`: a whole cluster in this process, mounted. The same libraries as the daemons, each under its own configuration.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_chunkserver::{Chunkserver, ChunkserverConfig};
use cairn_client::config::{ClientConfig, MountConfig};
use cairn_client::mount::Mount;
use cairn_metaserver::{Metaserver, MetaserverConfig};
use cairn_proto::admin::ServerState;
use cairn_proto::chunk::MAX_COPIES;
use cairn_proto::transport::Endpoint;
use cairn_runtime::crashsafe;
use cairn_runtime::shutdown::Shutdown;
use clap::Args;
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::daemon_args::DaemonArgs;
use crate::guard::Guard;
use crate::out::announce;

/// What is logged unless said otherwise: this is a person's terminal.
const QUIET: &str = "warn";

#[derive(Debug, Args)]
pub struct UpArgs {
    /// Where everything is kept; started again on it, everything is still there
    #[arg(long, value_name = "DIR", default_value = "cairn-data")]
    pub data: PathBuf,
    /// Where to mount; created where it does not exist
    #[arg(long, value_name = "DIR", default_value = "cairn-mnt")]
    pub mount: PathBuf,
    /// Chunkservers to run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub chunkservers: u16,
    /// Copies of each chunk, in a new cluster
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_COPIES)))]
    pub copies: u8,
    /// Where the metaserver listens; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub listen: String,
    /// What to log: a level, or directives
    #[arg(long, env = "CAIRN_LOG", value_name = "LEVEL", default_value = QUIET)]
    pub log: String,
}

/// For the chunkservers to register and report.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at whether they have.
const START_POLL: Duration = Duration::from_millis(20);

/// The running parts, in the order in which they are stopped.
struct Cluster {
    mount: Mount,
    guard: Guard,
    chunkservers: Chunkservers,
    metaserver: Metaserver,
}

struct Chunkservers {
    shutdown: Shutdown,
    serving: JoinSet<Result<()>>,
}

pub fn run(args: UpArgs) -> Result<()> {
    DaemonArgs { log: Some(args.log.clone()), ..DaemonArgs::default() }.start_logging()?;
    super::serve(async {
        let shutdown = Shutdown::new();
        shutdown.trigger_on_signals()?;
        let existed = args.data.join("meta").exists();
        let cluster = Cluster::start(&args).await?;
        cluster.greet(&args, existed)?;
        tokio::select! {
            () = shutdown.stopping() => {}
            () = cluster.mount.ended() => {}
        }
        cluster.stop().await?;
        announce!("stopped; the data is in {}", args.data.display());
        Ok(())
    })
}

impl Cluster {
    async fn start(args: &UpArgs) -> Result<Self> {
        let mountpoint = std::path::absolute(&args.mount)?;
        make_mountpoint(&mountpoint)?;
        let metaserver = Metaserver::start(MetaserverConfig {
            data_dir: args.data.join("meta"),
            listen: args.listen.clone(),
            health_listen: String::new(),
            copies: args.copies,
            ..MetaserverConfig::default()
        })
        .await
        .context("the metaserver")?;
        let chunkservers = Chunkservers::start(args, metaserver.endpoint()).await?;
        let client = ClientConfig::default();
        let metaserver_at = metaserver.endpoint().clone();
        let mount = Mount::start(MountConfig { metaserver: metaserver_at, mountpoint, successor_of: None, client })
            .await
            .context("the mount")?;
        let guard = Guard::start(mount.connection());
        Ok(Self { mount, guard, chunkservers, metaserver })
    }

    /// Says what was done and what to try next. The first line is for programs, too: they wait for it.
    fn greet(&self, args: &UpArgs, existed: bool) -> Result<()> {
        let mountpoint = std::path::absolute(&args.mount)?;
        let (mnt, meta) = (mountpoint.display(), self.metaserver.endpoint());
        let cairn = std::env::current_exe().map_or_else(|_| "cairn".into(), |p| p.display().to_string());
        announce!("CairnFS is mounted at {mnt}");
        let state = if existed { "with everything that was there" } else { "new and empty" };
        announce!("  {state}: data in {}", args.data.display());
        announce!("  metaserver at {meta}, {} chunkservers, {} copies of a new chunk", args.chunkservers, args.copies);
        announce!("\nTry, in another terminal:");
        announce!("  cp -r /usr/include {mnt}/ && ls -l {mnt}");
        announce!("  {cairn} status --meta {meta}");
        announce!("  {cairn} info {mnt}/include/stdio.h");
        announce!("\nCtrl-C unmounts and stops; the data stays for the next time.");
        Ok(())
    }

    async fn stop(self) -> Result<()> {
        let Self { mount, guard, chunkservers, metaserver } = self;
        let unmounted = mount.stop().await.context("the mount");
        guard.dismiss();
        chunkservers.stop().await?;
        metaserver.shutdown().await.context("the metaserver")?;
        unmounted
    }
}

impl Chunkservers {
    /// Starts them and waits until the metaserver can use them.
    async fn start(args: &UpArgs, metaserver: &Endpoint) -> Result<Self> {
        let (shutdown, mut serving) = (Shutdown::new(), JoinSet::new());
        for n in 1..=args.chunkservers {
            let config = ChunkserverConfig {
                data_dir: args.data.join(format!("chunks-{n}")).into(),
                name: format!("chunks-{n}"),
                // One machine, and yet several copies: the disk is all that there is to lose here.
                labels: vec![format!("host=chunks-{n}")],
                listen: "127.0.0.1:0".to_owned(),
                health_listen: String::new(),
                metaservers: vec![metaserver.to_string()],
                ..ChunkserverConfig::default()
            };
            let server = Chunkserver::start(config).await.with_context(|| format!("chunkserver {n}"))?;
            let shutdown = shutdown.clone();
            serving.spawn(async move { server.serve(shutdown).await.with_context(|| format!("chunkserver {n}")) });
        }
        let admin = Admin::connect(metaserver.clone()).await?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let status = super::status::ask(&admin).await?;
            let healthy = status.servers.iter().filter(|s| s.state == ServerState::Healthy).count();
            if healthy >= usize::from(args.chunkservers) {
                return Ok(Self { shutdown, serving });
            }
            if let Some(ended) = serving.try_join_next() {
                ended.context("a chunkserver")??;
            }
            ensure!(Instant::now() < deadline, "only {healthy} of {} chunkservers came up", args.chunkservers);
            tokio::time::sleep(START_POLL).await;
        }
    }

    async fn stop(mut self) -> Result<()> {
        self.shutdown.finish(super::DRAIN_LIMIT).await.context("the chunkservers")?;
        while let Some(ended) = self.serving.join_next().await {
            ended.context("a chunkserver")??;
        }
        Ok(())
    }
}

fn make_mountpoint(path: &Path) -> Result<()> {
    crashsafe::create_dir_all(path).with_context(|| format!("cannot create the mount point {}", path.display()))
}
