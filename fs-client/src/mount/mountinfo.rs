//! What is mounted where, from `/proc/self/mountinfo` (see `proc_pid_mountinfo(5)`).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountInfo {
    /// `major:minor` of the file system.
    pub device: String,
    pub mountpoint: PathBuf,
    pub kind: String,
    pub source: String,
}

/// What is mounted on top at `mountpoint`, a real path. Asks nothing of the file system itself.
pub(super) fn at(mountpoint: &Path) -> Option<MountInfo> {
    let text = fs::read("/proc/self/mountinfo").ok()?;
    text.split(|byte| *byte == b'\n').filter_map(parse).rfind(|mount| mount.mountpoint == mountpoint)
}

fn parse(line: &[u8]) -> Option<MountInfo> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = text(fields.nth(2)?);
    let mountpoint = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    let mut after_dash = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = text(after_dash.next()?);
    let source = text(&unescape(after_dash.next()?));
    Some(MountInfo { device, mountpoint, kind, source })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Blanks and the like stand as `\ooo`, in octal.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'\\')
            .then(|| std::str::from_utf8(tail.get(..3)?).ok())
            .flatten()
            .and_then(|octal| u8::from_str_radix(octal, 8).ok());
        out.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line() {
        let line = br"47 29 0:51 / /mnt/a\040b rw,nosuid shared:7 master:1 - fuse.cairn cairn#meta:7000 rw,user_id=0";
        let expected = MountInfo {
            device: "0:51".into(),
            mountpoint: "/mnt/a b".into(),
            kind: "fuse.cairn".into(),
            source: "cairn#meta:7000".into(),
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(at(Path::new("/")).is_some());
        assert!(at(Path::new("/no/such/mount")).is_none());
    }
}
