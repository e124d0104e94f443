//! Small files created, written and closed, by one process and by eight.

use std::time::Instant;

use super::{Bench, Workload};
use crate::error::BenchError;
use crate::figure::Figure;
use crate::worker::{self, Creation};

const PROCESSES: [u64; 2] = [1, 8];

#[derive(Debug)]
pub struct Create;

impl Workload for Create {
    fn name(&self) -> &'static str {
        "create"
    }

    fn about(&self) -> &'static str {
        "create, write 4 KiB and close, by 1 process and by 8 with a directory each"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let mut figures = Vec::new();
        for processes in PROCESSES {
            let files = bench.scale.changed_files / processes * processes;

            let workers = share_out(bench, &format!("close-{processes}"), processes, false)?;
            let closed = worker::race(&workers)?;
            let syncing = Instant::now();
            bench.all_to_disk()?;
            let on_disk = closed + syncing.elapsed();
            figures.push(Figure::operations(format!("create.{processes}.close"), files, closed));
            figures.push(Figure::operations(format!("create.{processes}.disk"), files, on_disk));

            let workers = share_out(bench, &format!("fsync-{processes}"), processes, true)?;
            let (elapsed, flushes) = bench.flushes_during(|| worker::race(&workers))?;
            let figure = Figure::operations(format!("create.{processes}.fsync"), files, elapsed);
            figures.push(figure.with_flushes(flushes, files));
        }
        Ok(figures)
    }
}

/// In a new directory, an equal share of the files for each process, in a directory of its own.
fn share_out(bench: &Bench<'_>, name: &str, processes: u64, fsync: bool) -> Result<Vec<Creation>, BenchError> {
    bench.subdirectory(name)?;
    let share = |process| {
        Ok(Creation {
            directory: bench.subdirectory(&format!("{name}/process-{process}"))?,
            files: bench.scale.changed_files / processes,
            bytes: bench.scale.small_file_bytes,
            fsync,
        })
    };
    let shares = (0..processes).map(share).collect::<Result<Vec<_>, BenchError>>()?;
    bench.target.sync_backing()?;
    Ok(shares)
}
