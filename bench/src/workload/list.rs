//! `ls -la` of a large directory.

use std::process::Command;
use std::time::Instant;

use super::{Bench, Workload, timing};
use crate::error::BenchError;
use crate::figure::Figure;
use crate::tool;

/// The lines of `ls -la` that are no files: the total, `.` and `..`.
const OTHER_LINES: u64 = 3;

#[derive(Debug)]
pub struct List;

impl Workload for List {
    fn name(&self) -> &'static str {
        "list"
    }

    fn about(&self) -> &'static str {
        "ls -la of a directory of small files, cold and warm; operations are entries"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let directory = bench.small_files()?;
        let expected = bench.scale.small_files;
        let list = || {
            let listing = tool::output(Command::new("ls").arg("-la").arg(&directory))?;
            let found = (listing.lines().count() as u64).saturating_sub(OTHER_LINES);
            if found == expected {
                return Ok(found);
            }
            Err(BenchError::WrongCount { path: directory.clone(), expected, found })
        };
        bench.target.make_cold()?;
        let start = Instant::now();
        let entries = list()?;
        let cold = start.elapsed();
        let (warm_entries, warm) = timing::repeat(list)?;
        Ok(vec![Figure::operations("list.cold", entries, cold), Figure::operations("list.warm", warm_entries, warm)])
    }
}
