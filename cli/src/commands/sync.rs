//! `cairn sync`.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, bail};
use cairn_client::fuse::sync_mount;
use nix::errno::Errno;
use nix::libc::O_NONBLOCK;

use crate::args::SyncArgs;

pub fn run(args: &SyncArgs) -> Result<()> {
    let what = || args.path.display().to_string();
    // Without it, opening a pipe would wait for its other end.
    let opened = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&args.path).with_context(what)?;
    match sync_mount(&opened) {
        Ok(()) => Ok(()),
        Err(Errno::ENOTTY) => bail!("{}: not a file or directory on a CairnFS mount", what()),
        Err(errno) => {
            Err(errno).with_context(what).context("not everything could be made durable; the mount's log says why")
        }
    }
}
