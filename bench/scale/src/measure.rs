//! What was done, how long that took, and the memory that it left behind.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// One step of the simulation.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub name: &'static str,
    /// What it was done to, how often.
    pub unit: &'static str,
    pub count: u64,
    /// Of one core: nothing waits for anything, and what else the machine does is not counted.
    pub seconds: f64,
    /// By how much the resident set grew, in bytes.
    pub grown: i64,
}

impl Step {
    /// Does `work`, which answers how often something was done.
    pub async fn of(name: &'static str, unit: &'static str, work: impl AsyncFnOnce() -> Result<u64>) -> Result<Self> {
        let (before, start) = (resident()?, cpu_time()?);
        let count = work().await.with_context(|| name.to_owned())?;
        let seconds = (cpu_time()? - start).as_secs_f64();
        eprintln!("{name}: {seconds:.1} s");
        Ok(Self { name, unit, count, seconds, grown: resident()? - before })
    }

    /// Of one, on average.
    pub fn each(&self) -> Duration {
        Duration::from_secs_f64(self.seconds / self.count.max(1) as f64)
    }
}

/// What this process has used of a core.
fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// Bytes of this process that are in memory (`VmRSS` of proc(5)).
fn resident() -> Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS in /proc/self/status")?;
    let kib: i64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
    Ok(kib << 10)
}

/// How evenly something is spread.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    pub of: &'static str,
    pub least: f64,
    pub mean: f64,
    pub most: f64,
    /// Standard deviation over the mean.
    pub deviation: f64,
}

impl Spread {
    pub fn over(of: &'static str, values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { of, least, mean, most, deviation: if mean == 0.0 { 0.0 } else { variance.sqrt() / mean } }
    }
}
