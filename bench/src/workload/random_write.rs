//! Random 4 KiB writes to a large file: one at a time, sixteen, and with an fsync after each.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::{Bench, Workload};
use crate::error::{BenchError, IoContext};
use crate::figure::Figure;
use crate::fio::{self, Access, Job, Sync};

const DEPTHS: [u32; 2] = [1, 16];

#[derive(Debug)]
pub struct RandomWrite;

impl Workload for RandomWrite {
    fn name(&self) -> &'static str {
        "random-write"
    }

    fn about(&self) -> &'static str {
        "write random 4 KiB of a large file with 1 and 16 in flight, and with an fsync after each (fio)"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let file = bench.take_stream()?;
        let mut figures = Vec::new();
        for depth in DEPTHS {
            figures.push(measure(bench, &file, &format!("random-write.depth-{depth}.close"), depth, Sync::Never)?);
            figures.push(measure(bench, &file, &format!("random-write.depth-{depth}.disk"), depth, Sync::AtEnd)?);
        }
        figures.push(measure(bench, &file, "random-write.fsync", 1, Sync::AfterEach)?);
        fs::remove_file(&file).doing("remove", &file)?;
        Ok(figures)
    }
}

fn measure(bench: &Bench<'_>, file: &Path, name: &str, depth: u32, sync: Sync) -> Result<Figure, BenchError> {
    bench.target.sync_backing()?;
    let job = Job {
        file,
        access: Access::Write,
        bytes: bench.scale.stream_bytes,
        depth,
        sync,
        limit: bench.scale.random_limit,
    };
    let report = bench.tools.scratch.join("fio.json");
    let (outcome, flushes) = bench.flushes_during(|| fio::run(&job, bench.tools.engine, &report))?;
    let mut elapsed = outcome.elapsed;
    if sync == Sync::AtEnd {
        let start = Instant::now();
        bench.target.sync_backing()?;
        elapsed += start.elapsed();
    }
    let figure = Figure::operations(name, outcome.requests, elapsed);
    // Those that end with one flush of all show nothing by it.
    Ok(if sync == Sync::AfterEach { figure.with_flushes(flushes, outcome.requests) } else { figure })
}
