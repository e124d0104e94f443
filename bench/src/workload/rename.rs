//! Files renamed within their directory.

use std::time::Instant;

use nix::fcntl::{AT_FDCWD, renameat};

use super::{Bench, Workload};
use crate::error::{BenchError, IoContext};
use crate::figure::Figure;
use crate::worker::file_name;

#[derive(Debug)]
pub struct Rename;

impl Workload for Rename {
    fn name(&self) -> &'static str {
        "rename"
    }

    fn about(&self) -> &'static str {
        "rename every file of a directory to a new name in it"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let directory = bench.subdirectory("files")?;
        let files = bench.scale.changed_files;
        bench.fill(&directory, files)?;
        let names: Vec<_> = (0..files)
            .map(|index| (directory.join(file_name(index)), directory.join(format!("renamed-{index:06}"))))
            .collect();
        let start = Instant::now();
        for (old, new) in &names {
            renameat(AT_FDCWD, old, AT_FDCWD, new).doing("rename", old)?;
        }
        let returned = start.elapsed();
        bench.names_to_disk(&directory)?;
        let on_disk = start.elapsed();
        Ok(vec![Figure::operations("rename.close", files, returned), Figure::operations("rename.disk", files, on_disk)])
    }
}
