//! Random access by fio(1), and its JSON.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{BenchError, IoContext};
use crate::tool;

/// Bytes of one random read or write.
const BLOCK_BYTES: u64 = 4096;

/// Size of the file on which the engines are tried.
const PROBE_BYTES: u64 = 1 << 20;

/// How requests are put to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    Libaio,
    #[serde(rename = "io_uring")]
    IoUring,
    /// One thread for each request in flight.
    Psync,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::Libaio => "libaio",
            Self::IoUring => "io_uring",
            Self::Psync => "psync",
        }
    }

    /// The first engine that works in `directory`; the same is then used on every target.
    pub fn probe(directory: &Path) -> Result<Self, BenchError> {
        let file = directory.join("fio-probe");
        let report = directory.join("fio-probe.json");
        fs::write(&file, vec![0; PROBE_BYTES as usize]).doing("write", &file)?;
        let job = Job {
            file: &file,
            access: Access::Read,
            bytes: PROBE_BYTES,
            depth: 2,
            sync: Sync::Never,
            limit: Duration::from_secs(1),
        };
        let works = |engine: &Engine| run(&job, *engine, &report).is_ok();
        Ok([Self::Libaio, Self::IoUring].into_iter().find(works).unwrap_or(Self::Psync))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// When a job of writes calls fsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    Never,
    /// Once, after the last write and within the measured time.
    AtEnd,
    AfterEach,
}

/// Random 4 KiB requests to a file that exists.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub file: &'a Path,
    pub access: Access,
    /// Size of the part of the file that is worked on; each of its blocks is visited at most once.
    pub bytes: u64,
    /// Requests in flight.
    pub depth: u32,
    pub sync: Sync,
    pub limit: Duration,
}

/// What a job has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub requests: u64,
    pub elapsed: Duration,
}

/// Runs `job`; the report is left in `report`.
pub fn run(job: &Job<'_>, engine: Engine, report: &Path) -> Result<Outcome, BenchError> {
    tool::run(&mut command(job, engine, report))?;
    let text = fs::read_to_string(report).doing("read", report)?;
    parse(&text, job.access)
}

fn command(job: &Job<'_>, engine: Engine, report: &Path) -> Command {
    let mut command = Command::new("fio");
    let access = match job.access {
        Access::Read => "randread",
        Access::Write => "randwrite",
    };
    command
        .args(["--name=random", "--thread", "--group_reporting", "--allow_file_create=0", "--output-format=json"])
        .arg(format!("--filename={}", job.file.display()))
        .arg(format!("--output={}", report.display()))
        .arg(format!("--rw={access}"))
        .arg(format!("--bs={BLOCK_BYTES}"))
        .arg(format!("--runtime={}", job.limit.as_secs().max(1)))
        .arg(format!("--ioengine={}", engine.name()));
    // Databases fsync what they have written through the page cache; requests in flight need O_DIRECT.
    let direct = u8::from(job.sync != Sync::AfterEach);
    command.arg(format!("--direct={direct}"));
    match job.sync {
        Sync::Never => {}
        Sync::AtEnd => drop(command.arg("--end_fsync=1")),
        Sync::AfterEach => drop(command.arg("--fsync=1")),
    }
    if engine == Engine::Psync && job.depth > 1 {
        let share = job.bytes / u64::from(job.depth) / BLOCK_BYTES * BLOCK_BYTES;
        command.arg(format!("--numjobs={}", job.depth)).arg(format!("--size={share}"));
        command.arg(format!("--offset_increment={share}"));
    } else {
        command.arg(format!("--iodepth={}", job.depth)).arg(format!("--size={}", job.bytes));
    }
    command
}

#[derive(Debug, Deserialize)]
struct Report {
    jobs: Vec<JobReport>,
}

#[derive(Debug, Deserialize)]
struct JobReport {
    error: i32,
    read: Side,
    write: Side,
}

#[derive(Debug, Deserialize)]
struct Side {
    total_ios: u64,
    /// Milliseconds, the fsync at the end included.
    runtime: u64,
}

/// Reads fio's JSON, before which it may have printed notes.
fn parse(text: &str, access: Access) -> Result<Outcome, BenchError> {
    let json = text.find('{').map_or(text, |start| &text[start..]);
    let report: Report = serde_json::from_str(json).map_err(BenchError::FioReport)?;
    let mut outcome = Outcome { requests: 0, elapsed: Duration::ZERO };
    for job in &report.jobs {
        if job.error != 0 {
            return Err(BenchError::FioJob { code: job.error });
        }
        let side = match access {
            Access::Read => &job.read,
            Access::Write => &job.write,
        };
        outcome.requests += side.total_ios;
        outcome.elapsed = outcome.elapsed.max(Duration::from_millis(side.runtime));
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"fio: this platform does not support process shared mutexes, forcing use of threads.
{
  "fio version" : "fio-3.33",
  "jobs" : [
    {
      "jobname" : "random",
      "error" : 0,
      "read" : { "io_bytes" : 0, "runtime" : 0, "total_ios" : 0, "lat_ns" : { "mean" : 0.0 } },
      "write" : { "io_bytes" : 8388608, "iops" : 41795.918367, "runtime" : 49, "total_ios" : 2048 },
      "sync" : { "total_ios" : 0 }
    }
  ],
  "disk_util" : []
}"#;

    #[test]
    fn a_report_is_read_past_the_notes_before_it() {
        let written = parse(REPORT, Access::Write).unwrap();
        assert_eq!(written, Outcome { requests: 2048, elapsed: Duration::from_millis(49) });
        assert_eq!(parse(REPORT, Access::Read).unwrap().requests, 0);
    }

    #[test]
    fn a_failed_job_and_a_torn_report_are_errors() {
        let failed = REPORT.replace("\"error\" : 0", "\"error\" : 22");
        assert!(matches!(parse(&failed, Access::Write), Err(BenchError::FioJob { code: 22 })));
        assert!(matches!(parse(&REPORT[..300], Access::Write), Err(BenchError::FioReport(_))));
        assert!(matches!(parse("", Access::Write), Err(BenchError::FioReport(_))));
    }

    fn arguments(job: &Job<'_>, engine: Engine) -> Vec<String> {
        let command = command(job, engine, Path::new("/report"));
        command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn requests_in_flight_bypass_the_page_cache_and_synced_writes_do_not() {
        let mut job = Job {
            file: Path::new("/file"),
            access: Access::Write,
            bytes: 1 << 20,
            depth: 16,
            sync: Sync::AtEnd,
            limit: Duration::from_secs(5),
        };
        let deep = arguments(&job, Engine::Libaio);
        for expected in ["--direct=1", "--iodepth=16", "--end_fsync=1", "--rw=randwrite", "--runtime=5"] {
            assert!(deep.iter().any(|argument| argument == expected), "{expected} in {deep:?}");
        }
        job.sync = Sync::AfterEach;
        job.depth = 1;
        let synced = arguments(&job, Engine::Libaio);
        assert!(synced.contains(&"--direct=0".to_owned()) && synced.contains(&"--fsync=1".to_owned()));
    }

    #[test]
    fn without_asynchronous_engines_depth_is_made_of_threads() {
        let job = Job {
            file: Path::new("/file"),
            access: Access::Read,
            bytes: 1 << 20,
            depth: 16,
            sync: Sync::Never,
            limit: Duration::from_secs(5),
        };
        let threads = arguments(&job, Engine::Psync);
        assert!(threads.contains(&"--numjobs=16".to_owned()));
        assert!(threads.contains(&format!("--size={}", (1 << 20) / 16)));
    }
}
