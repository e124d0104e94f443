//! A mounted file system with the client process behind it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::daemon::Daemon;
use crate::run;

/// What a client says when it did something under a delegation that the metaserver does otherwise, or not at all.
const DISAGREEMENTS: [&str; 2] = ["came to another result than this mount", "refused what was done ahead of it"];

/// Dropped, it unmounts, by force if need be.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
    daemon: Option<Daemon>,
}

impl Mount {
    /// `cairn mount META PATH --foreground -o OPTIONS`.
    pub fn start(meta: &str, path: &Path, options: &str, log: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        let mut args = vec!["mount".into(), meta.into(), path.display().to_string(), "--foreground".into()];
        if !options.is_empty() {
            args.extend(["-o".into(), options.into()]);
        }
        let daemon = Daemon::start("mount", &args, log)?;
        Ok(Self { path: path.to_owned(), daemon: Some(daemon) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on the mount's root.
    pub fn run<T>(&self, work: impl FnOnce(PathBuf) -> T) -> T {
        work(self.path.clone())
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The client process.
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("only unmount and kill take it")
    }

    /// `umount`, and wants the client to end in good order, and never to have been of another opinion than the metaserver.
    pub fn unmount(mut self) -> Result<()> {
        run::check(Command::new("umount").arg(&self.path))?;
        let mut daemon = self.daemon.take().context("mounted once")?;
        let status = daemon.wait(Duration::from_secs(60))?;
        ensure!(status.success(), "the client ended with {status}");
        let log = daemon.log()?;
        let disagrees = |line: &&str| DISAGREEMENTS.iter().any(|words| line.contains(words));
        ensure!(!log.lines().any(|line| disagrees(&line)), "the client and the metaserver disagree:\n{log}");
        Ok(())
    }

    /// Kills the client with -9 and takes the dead mount away.
    pub fn kill(mut self) -> Result<()> {
        self.daemon.take().context("mounted once")?.kill()?;
        run::check(Command::new("umount").arg("-l").arg(&self.path))?;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let unmounted = run::check(Command::new("umount").arg(&self.path)).is_ok();
        if !unmounted || daemon.wait(Duration::from_secs(20)).is_err() {
            let _ = daemon.kill();
            let _ = run::output(Command::new("umount").arg("-l").arg(&self.path));
        }
    }
}
