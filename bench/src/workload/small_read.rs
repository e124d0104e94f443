//! Many small files opened, read and closed, in no order.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::stat::shuffled_small_files;
use super::{Bench, Workload, timing};
use crate::contents::Contents;
use crate::error::{BenchError, IoContext};
use crate::figure::Figure;

#[derive(Debug)]
pub struct SmallRead;

impl Workload for SmallRead {
    fn name(&self) -> &'static str {
        "small-read"
    }

    fn about(&self) -> &'static str {
        "open, read and close every 4 KiB file of a directory in random order, cold and again"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let paths = shuffled_small_files(bench)?;
        let contents = bench.target.keeps_data().then(|| Contents::new(bench.scale.small_file_bytes));
        bench.target.make_cold()?;
        let start = Instant::now();
        let files = read_all(&paths, contents.as_ref())?;
        let cold = start.elapsed();
        let (again_files, again) = timing::repeat(|| read_all(&paths, contents.as_ref()))?;
        Ok(vec![
            Figure::operations("small-read.cold", files, cold),
            Figure::operations("small-read.again", again_files, again),
        ])
    }
}

fn read_all(paths: &[(u64, PathBuf)], expected: Option<&Contents>) -> Result<u64, BenchError> {
    for (index, path) in paths {
        let found = fs::read(path).doing("read", path)?;
        if let Some(contents) = expected {
            contents.check(&found, *index, path, 0)?;
        }
    }
    Ok(paths.len() as u64)
}
