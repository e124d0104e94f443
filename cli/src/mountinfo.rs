//! What is mounted on this machine, from `/proc/self/mountinfo` (see proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cairn_proto::transport::Endpoint;

/// What stands before the metaserver in a mount's source: `cairn#HOST:PORT`.
pub const SOURCE_PREFIX: &str = "cairn#";

/// One CairnFS mount.
#[derive(Debug, Clone, PartialEq)]
pub struct MountEntry {
    pub mountpoint: PathBuf,
    pub endpoint: Endpoint,
}

/// All CairnFS mounts that this process sees, in mount order.
pub fn read() -> Result<Vec<MountEntry>> {
    let text = std::fs::read("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    Ok(parse(&text))
}

/// The real path of a mount point, for comparing with the mount table. Asks nothing of what is mounted there.
pub fn real_path(mountpoint: &Path) -> PathBuf {
    std::fs::canonicalize(mountpoint).unwrap_or_else(|_| mountpoint.to_owned())
}

/// The mount that `path` (absolute, real) lies on.
pub fn holding(mounts: &[MountEntry], path: &Path) -> Option<MountEntry> {
    // Of two at one place the later hides the earlier.
    mounts.iter().filter(|m| path.starts_with(&m.mountpoint)).max_by_key(|m| m.mountpoint.components().count()).cloned()
}

fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|b| *b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let separator = fields.iter().position(|f| *f == b"-")?;
    let source = unescape(fields.get(separator + 2)?);
    let endpoint = std::str::from_utf8(&source).ok()?.strip_prefix(SOURCE_PREFIX)?.parse().ok()?;
    let mountpoint = PathBuf::from(OsString::from_vec(unescape(fields.get(4)?)));
    Some(MountEntry { mountpoint, endpoint })
}

/// Space, tab, newline and backslash stand as `\040` and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
        90 22 0:44 / /mnt/a\\040b rw,nosuid shared:1 - fuse.cairn cairn#127.0.0.1:4000 rw,user_id=0\n\
        91 22 0:45 / /mnt rw - fuse.cairn cairn#meta:4001 rw\n";

    #[test]
    fn mounts_are_found() {
        let mounts = parse(TEXT);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].mountpoint, Path::new("/mnt/a b"));
        assert_eq!(holding(&mounts, Path::new("/mnt/a b/c")).unwrap().endpoint.to_string(), "127.0.0.1:4000");
        assert_eq!(holding(&mounts, Path::new("/mnt/x")).unwrap().endpoint.to_string(), "meta:4001");
        assert_eq!(holding(&mounts, Path::new("/home")), None);
    }
}
