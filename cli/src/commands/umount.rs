//! `cairn umount`.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::args::UmountArgs;

pub fn run(args: UmountArgs) -> Result<()> {
    let flags = if args.lazy { MntFlags::MNT_DETACH } else { MntFlags::empty() };
    umount2(&args.mountpoint, flags)
        .map_err(|errno| advice(errno, args.lazy))
        .with_context(|| args.mountpoint.display().to_string())
}

fn advice(errno: Errno, lazy: bool) -> anyhow::Error {
    match errno {
        Errno::EBUSY if !lazy => {
            anyhow::anyhow!("in use: end the programs that use it (see `fuser -vm`), or add --lazy")
        }
        Errno::EINVAL => anyhow::anyhow!("nothing is mounted there"),
        Errno::EPERM => anyhow::anyhow!("only root may unmount it: use sudo"),
        other => other.into(),
    }
}
