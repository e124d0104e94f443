//! `mount.cairn`: what mount(8) calls for `mount -t cairn` and for lines of fstab.
//!
//! It calls `mount.cairn SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`; see the EXTERNAL HELPERS section of mount(8).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::commands::mount::MountArgs;
use crate::daemon_args::DaemonArgs;

/// The name under which this binary is the helper, with or without a subtype in front (`mount.fuse.cairn`).
const NAMES: [&str; 2] = ["mount.cairn", "mount.fuse.cairn"];

/// The mount that is asked for, if this process was called as the helper.
pub fn arguments(mut args: impl Iterator<Item = OsString>) -> Option<Result<MountArgs>> {
    let name = args.next()?;
    let name = Path::new(&name).file_name()?.to_str()?;
    NAMES.contains(&name).then(|| parse(args))
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Result<MountArgs> {
    let (mut plain, mut options, mut fake) = (Vec::new(), Vec::new(), false);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("-o") => options.push(text(args.next().context("-o needs options")?)?),
            Some("-t" | "-N") => drop(args.next()),
            Some(flags) if flags.starts_with('-') => match flags.trim_start_matches('-') {
                // Sloppy, no mtab, verbose: nothing to do for us.
                letters if letters.chars().all(|c| "snvf".contains(c)) => fake |= letters.contains('f'),
                _ => bail!("unknown argument {flags}"),
            },
            _ => plain.push(arg),
        }
    }
    let [source, mountpoint]: [OsString; 2] =
        plain.try_into().map_err(|_| anyhow::anyhow!("usage: mount.cairn HOST:PORT DIR [-o OPTIONS]"))?;
    let source = text(source)?;
    // A remount passes what the mount table shows.
    let meta = source.strip_prefix(crate::mountinfo::SOURCE_PREFIX).unwrap_or(&source);
    Ok(MountArgs {
        meta: meta.parse().with_context(|| format!("the source of the mount: {source}"))?,
        mountpoint: PathBuf::from(mountpoint),
        options,
        foreground: false,
        supervise: false,
        log_file: None,
        successor_of: None,
        fake,
        daemon: DaemonArgs::default(),
    })
}

fn text(arg: OsString) -> Result<String> {
    arg.into_string().map_err(|arg| anyhow::anyhow!("not UTF-8: {}", arg.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(args: &[&str]) -> Option<Result<MountArgs>> {
        arguments(args.iter().map(OsString::from))
    }

    #[test]
    fn as_mount_calls_it() {
        let args = called(&["/sbin/mount.cairn", "meta:7400", "/mnt", "-sn", "-o", "rw,noatime"]).unwrap().unwrap();
        assert_eq!(args.meta.to_string(), "meta:7400");
        assert_eq!(args.mountpoint, Path::new("/mnt"));
        assert_eq!(args.options, ["rw,noatime"]);
        let remount = called(&["mount.fuse.cairn", "cairn#meta:7400", "/mnt", "-o", "remount,ro"]).unwrap().unwrap();
        assert_eq!(remount.meta.to_string(), "meta:7400");
    }

    #[test]
    fn not_the_helper_or_wrong_arguments() {
        assert!(called(&["/usr/bin/cairn", "mount"]).is_none());
        assert!(called(&["mount.cairn", "meta:7400"]).unwrap().is_err());
        assert!(called(&["mount.cairn", "meta", "/mnt"]).unwrap().is_err());
    }
}
