//! A source tree unpacked by tar.

use std::time::Instant;

use super::{Bench, Workload};
use crate::error::BenchError;
use crate::figure::Figure;

#[derive(Debug)]
pub struct Untar;

impl Workload for Untar {
    fn name(&self) -> &'static str {
        "untar"
    }

    fn about(&self) -> &'static str {
        "unpack a tree of small files with tar; operations are files"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let tarball = &bench.tools.tarball;
        tarball.preload()?;
        let start = Instant::now();
        tarball.unpack(&bench.directory)?;
        let returned = start.elapsed();
        bench.all_to_disk()?;
        let on_disk = start.elapsed();
        Ok(vec![
            Figure::operations("untar.close", tarball.files, returned),
            Figure::operations("untar.disk", tarball.files, on_disk),
        ])
    }
}
