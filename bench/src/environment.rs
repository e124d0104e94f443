//! The machine on which the figures came about.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::tool;

/// What one has to know to compare figures of two runs. Empty texts and zeros where the machine does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// Seconds since 1970.
    pub started_unix_s: u64,
    pub kernel: String,
    pub processor: String,
    pub processors: usize,
    pub memory_mib: u64,
    /// Type and options of the filesystem below all targets.
    pub disk: String,
    /// Load averages at the start: anything but near zero says that others were at work.
    pub load: String,
    pub fio: String,
    pub moosefs: String,
    pub cairn: String,
}

impl Environment {
    /// Looks around; `work` is a directory on the disk under test.
    pub fn observe(work: &Path, cairn: &Path) -> Self {
        let processors = read("/proc/cpuinfo");
        Self {
            started_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: field(&processors, "model name").unwrap_or_default().to_owned(),
            processors: std::thread::available_parallelism().map_or(0, Into::into),
            memory_mib: memory_mib(&read("/proc/meminfo")).unwrap_or(0),
            disk: disk_of(&read("/proc/self/mountinfo"), work).unwrap_or_default(),
            load: read("/proc/loadavg").trim().to_owned(),
            fio: version(Command::new("fio").arg("--version")),
            moosefs: version(Command::new("mfsmaster").arg("-v")),
            cairn: version(Command::new(cairn).arg("--version")),
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn version(command: &mut Command) -> String {
    tool::output(command).ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default()
}

/// The value of a `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

fn memory_mib(meminfo: &str) -> Option<u64> {
    let kibibytes: u64 = field(meminfo, "MemTotal")?.trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes / 1024)
}

/// Type and mount options of what is mounted at the longest path above `path` (proc(5), mountinfo).
fn disk_of(mountinfo: &str, path: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(4);
        Some((Path::new(left.next()?), left.next()?, right.split(' ').next()?))
    });
    // The later of two mounts at one place covers the earlier, and the last of equals is the one that max_by_key gives.
    let (_, options, kind) = mounts
        .filter(|(mountpoint, ..)| path.starts_with(mountpoint))
        .max_by_key(|(mountpoint, ..)| mountpoint.components().count())?;
    Some(format!("{kind} ({options})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
23 22 0:21 / /proc rw,relatime - proc proc rw
40 22 0:40 / /srv/data rw,noatime - xfs /dev/vdb rw
";

    #[test]
    fn the_disk_is_the_innermost_mount() {
        assert_eq!(disk_of(MOUNTS, Path::new("/srv/data/bench")).unwrap(), "xfs (rw,noatime)");
        assert_eq!(disk_of(MOUNTS, Path::new("/srv/database")).unwrap(), "ext4 (rw,relatime)");
        assert_eq!(disk_of("", Path::new("/srv")), None);
    }

    #[test]
    fn fields_of_proc_files_are_found() {
        assert_eq!(
            field("processor\t: 0\nmodel name\t: Some CPU @ 2: fast\n", "model name"),
            Some("Some CPU @ 2: fast")
        );
        assert_eq!(memory_mib("MemTotal:       24691000 kB\nMemFree: 1 kB\n"), Some(24112));
    }
}
