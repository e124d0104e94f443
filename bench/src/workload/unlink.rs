//! Files removed one by one.

use std::fs;
use std::time::Instant;

use super::{Bench, Workload};
use crate::error::{BenchError, IoContext};
use crate::figure::Figure;
use crate::worker::file_name;

#[derive(Debug)]
pub struct Unlink;

impl Workload for Unlink {
    fn name(&self) -> &'static str {
        "unlink"
    }

    fn about(&self) -> &'static str {
        "unlink every 4 KiB file of a directory"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let directory = bench.subdirectory("files")?;
        let files = bench.scale.changed_files;
        bench.fill(&directory, files)?;
        let start = Instant::now();
        for index in 0..files {
            let path = directory.join(file_name(index));
            fs::remove_file(&path).doing("unlink", &path)?;
        }
        let returned = start.elapsed();
        bench.names_to_disk(&directory)?;
        let on_disk = start.elapsed();
        Ok(vec![Figure::operations("unlink.close", files, returned), Figure::operations("unlink.disk", files, on_disk)])
    }
}
