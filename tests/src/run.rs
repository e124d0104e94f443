//! Running other programs, with their output in the failure message.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Runs `command` to its end and wants exit code 0. Returns what it printed to stdout.
pub fn check(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    ensure!(output.status.success(), "{command:?}: {}\n{}", output.status, printed(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` to its end, whatever its exit code.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))
}

/// Runs a shell script with `set -e` in `dir` and wants exit code 0.
pub fn shell(dir: &Path, script: &str) -> Result<String> {
    check(Command::new("bash").arg("-euo").arg("pipefail").arg("-c").arg(script).current_dir(dir))
}

/// Like [`shell`], but ends the script and all its children after `limit`.
pub fn shell_within(dir: &Path, script: &str, limit: Duration) -> Result<String> {
    check(
        Command::new("timeout")
            .arg("--kill-after=10")
            .arg(limit.as_secs().to_string())
            .args(["bash", "-euo", "pipefail", "-c", script])
            .current_dir(dir),
    )
}

/// Asks `condition` until it holds; fails after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        match condition() {
            Ok(true) => return Ok(()),
            Ok(false) if Instant::now() > end => bail!("waited {limit:?} in vain for: {what}"),
            Err(e) if Instant::now() > end => return Err(e.context(format!("waited {limit:?} in vain for: {what}"))),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Both streams of a finished program, for a message.
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
