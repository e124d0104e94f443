//! Random 4 KiB reads of a large file, one at a time and sixteen.

use super::{Bench, Workload};
use crate::error::BenchError;
use crate::figure::Figure;
use crate::fio::{self, Access, Job, Sync};

const DEPTHS: [u32; 2] = [1, 16];

#[derive(Debug)]
pub struct RandomRead;

impl Workload for RandomRead {
    fn name(&self) -> &'static str {
        "random-read"
    }

    fn about(&self) -> &'static str {
        "read random 4 KiB of a large file past the page cache, cold, with 1 and 16 in flight (fio)"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let file = bench.stream()?;
        let mut figures = Vec::new();
        for depth in DEPTHS {
            bench.target.make_cold()?;
            let job = Job {
                file: &file,
                access: Access::Read,
                bytes: bench.scale.stream_bytes,
                depth,
                sync: Sync::Never,
                limit: bench.scale.random_limit,
            };
            let outcome = fio::run(&job, bench.tools.engine, &bench.tools.scratch.join("fio.json"))?;
            let name = format!("random-read.depth-{depth}");
            figures.push(Figure::operations(name, outcome.requests, outcome.elapsed));
        }
        Ok(figures)
    }
}
