//! `cairn umount`.

use std::io;

use anyhow::{Context, Result, anyhow};
use cairn_client::mount::{UnmountMode, unmount};
use nix::errno::Errno;

use crate::args::UmountArgs;
use crate::mountinfo::real_path;

pub fn run(args: UmountArgs) -> Result<()> {
    let mode = match (args.force, args.lazy) {
        (true, _) => UnmountMode::Force,
        (false, true) => UnmountMode::Lazy,
        (false, false) => UnmountMode::Normal,
    };
    // Symlinks are not unmounted.
    unmount(&real_path(&args.mountpoint), mode).map_err(advice).with_context(|| args.mountpoint.display().to_string())
}

fn advice(error: io::Error) -> anyhow::Error {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EINVAL) => anyhow!("nothing is mounted there"),
        _ if error.kind() == io::ErrorKind::ResourceBusy => anyhow!(
            "in use: end the programs that use it (see `fuser -vm`), or add --lazy to let them go on, or --force to make their calls fail"
        ),
        _ if error.kind() == io::ErrorKind::PermissionDenied => {
            anyhow!("only root, or whoever has mounted it, may unmount it: {error}")
        }
        _ => error.into(),
    }
}
