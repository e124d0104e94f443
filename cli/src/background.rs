//! Starting this very command again as a process of its own, and leaving when it is ready.
//!
//! No `fork` of a process that may have threads: the child is a fresh `cairn … --foreground` in its own session. It prints one line
//! when it is ready, and its log goes to a file.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Starts `cairn ARGS`, waits for its first line, and answers with it. If it ends instead, its last log line is the error.
pub fn start(args: &[OsString], log: &Path) -> Result<String> {
    let mut log_file = open_log(log)?;
    let log_start = log_file.seek(SeekFrom::End(0))?;
    let exe = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new(exe);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file.try_clone()?).process_group(0);
    let mut child = command.spawn().context("cannot start in the background")?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut ready = String::new();
    BufReader::new(stdout).read_line(&mut ready)?;
    if !ready.trim().is_empty() {
        return Ok(ready.trim().to_owned());
    }
    let status = child.wait()?;
    let mut said = String::new();
    log_file.seek(SeekFrom::Start(log_start))?;
    log_file.read_to_string(&mut said)?;
    match said.lines().rev().find_map(|line| line.strip_prefix("cairn: ")) {
        Some(line) => bail!("{line}"),
        None => bail!("it ended with {status}; see {}", log.display()),
    }
}

/// Where the log of a background mount goes unless said otherwise.
pub fn default_log(mountpoint: &Path) -> PathBuf {
    let dir = if nix::unistd::geteuid().is_root() {
        PathBuf::from("/var/log/cairn")
    } else {
        let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
        home.join(".local/state/cairn")
    };
    let name: String = mountpoint.display().to_string().trim_matches('/').replace('/', "-");
    dir.join(format!("mount-{name}.log"))
}

fn open_log(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
    }
    OpenOptions::new().create(true).append(true).read(true).open(path).with_context(|| format!("{}", path.display()))
}
