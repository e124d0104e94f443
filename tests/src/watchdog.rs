//! Ends a test that hangs, and says what it hangs in: a run that is ended from outside tells nobody why.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Lines of each log that are shown.
const LINES: usize = 15;

/// Over a test as long as it lives.
#[derive(Debug)]
pub struct Watchdog {
    /// Dropped with it, which the watching thread hears.
    _alive: Sender<()>,
}

impl Watchdog {
    /// After `limit` it ends this process, all its children, and the mounts below `dir`; and shows the logs in there.
    pub fn start(dir: &Path, limit: Duration) -> Self {
        let (alive, ended) = channel::<()>();
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let dir = dir.to_owned();
        std::thread::spawn(move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                let report = format!("\n{test} hangs: not done after {limit:?}\n{}{}", processes(), logs(&dir));
                // Past what captures the output of tests, which is lost with the process.
                let _ = std::io::stderr().write_all(report.as_bytes());
                end(&dir);
            }
        });
        Self { _alive: alive }
    }
}

/// This process and its children, thread by thread, with where each is in the kernel. Nothing here looks into the memory of a process: that
/// waits, too, where a process hangs.
pub fn processes() -> String {
    let own = std::process::id();
    let mut text = String::new();
    for pid in descendants(own).into_iter().chain([own]) {
        let _ = writeln!(text, "process {pid}:");
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let stack = read("stack");
            let calls = stack.lines().filter_map(|line| line.split(' ').nth(1)).take(4);
            let calls: Vec<_> = calls.filter_map(|call| call.split('+').next()).collect();
            let _ = writeln!(text, "    {}: {}", read("comm").trim(), calls.join(" < "));
        }
    }
    text
}

/// Processes that descend from a process.
fn descendants(of: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let parents: Vec<(u32, u32)> = processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            // The name may hold anything but what ends it.
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found = vec![of];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, its)| *its == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

fn logs(dir: &Path) -> String {
    let mut text = String::new();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    for path in paths {
        let log = std::fs::read(&path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let _ = writeln!(text, "{}, {} lines, ends:", path.display(), lines.len());
        for line in &lines[lines.len().saturating_sub(LINES)..] {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// Leaves nothing behind that somebody would have to look for.
fn end(dir: &Path) -> ! {
    for pid in descendants(std::process::id()) {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
    }
    for mount in mounts_below(dir) {
        let _ = umount2(&mount, MntFlags::MNT_DETACH);
    }
    std::process::exit(101);
}

/// Mount points at and below `dir`, the last one first.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut points: Vec<_> = points.filter(|point| point.starts_with(dir)).collect();
    points.reverse();
    points
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn children_of_children_are_found() {
        let mut shell = Command::new("sh").args(["-c", "sleep 100 & wait"]).spawn().unwrap();
        let is_there = || Ok(processes().contains("sleep: "));
        let found = crate::run::wait_until("the child of the child is shown", Duration::from_secs(20), is_there);
        descendants(shell.id()).iter().for_each(|&pid| kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap());
        shell.kill().unwrap();
        shell.wait().unwrap();
        found.unwrap();
    }

    #[test]
    fn logs_are_shown_by_their_ends() {
        let dir = tempfile::tempdir().unwrap();
        let lines: String = (0..100).map(|n| format!("line {n}\n")).collect();
        std::fs::write(dir.path().join("meta.log"), lines).unwrap();
        std::fs::write(dir.path().join("other"), "nothing").unwrap();
        let shown = logs(dir.path());
        assert!(shown.contains("line 99") && shown.contains("line 85") && !shown.contains("line 84"), "{shown}");
        assert!(!shown.contains("nothing"), "{shown}");
    }
}
