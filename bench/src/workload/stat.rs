//! The attributes of many files, by name and in no order.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::{Bench, Workload, timing};
use crate::error::{BenchError, IoContext};
use crate::figure::Figure;
use crate::worker;

#[derive(Debug)]
pub struct Stat;

impl Workload for Stat {
    fn name(&self) -> &'static str {
        "stat"
    }

    fn about(&self) -> &'static str {
        "lstat every file of a directory in random order, cold and warm"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let paths = shuffled_small_files(bench)?;
        bench.target.make_cold()?;
        let start = Instant::now();
        let files = stat_all(&paths)?;
        let cold = start.elapsed();
        let (warm_files, warm) = timing::repeat(|| stat_all(&paths))?;
        Ok(vec![Figure::operations("stat.cold", files, cold), Figure::operations("stat.warm", warm_files, warm)])
    }
}

/// The paths of the shared small files with the numbers in them, in an order that is the same in every run.
pub fn shuffled_small_files(bench: &mut Bench<'_>) -> Result<Vec<(u64, PathBuf)>, BenchError> {
    let directory = bench.small_files()?;
    let mut paths: Vec<_> =
        (0..bench.scale.small_files).map(|index| (index, directory.join(worker::file_name(index)))).collect();
    paths.shuffle(&mut StdRng::seed_from_u64(bench.scale.small_files));
    Ok(paths)
}

fn stat_all(paths: &[(u64, PathBuf)]) -> Result<u64, BenchError> {
    for (_, path) in paths {
        fs::symlink_metadata(path).doing("stat", path)?;
    }
    Ok(paths.len() as u64)
}
