//! A source tree removed by `rm -r`.

use std::process::Command;
use std::time::Instant;

use super::tree::TREE_NAME;
use super::{Bench, Workload};
use crate::error::BenchError;
use crate::figure::Figure;
use crate::tool;

#[derive(Debug)]
pub struct RemoveTree;

impl Workload for RemoveTree {
    fn name(&self) -> &'static str {
        "remove-tree"
    }

    fn about(&self) -> &'static str {
        "rm -r of an unpacked tree; operations are files"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let tarball = &bench.tools.tarball;
        tarball.unpack(&bench.directory)?;
        bench.all_to_disk()?;
        let start = Instant::now();
        tool::run(Command::new("rm").arg("-r").arg(bench.directory.join(TREE_NAME)))?;
        let returned = start.elapsed();
        bench.names_to_disk(&bench.directory)?;
        let on_disk = start.elapsed();
        Ok(vec![
            Figure::operations("remove-tree.close", tarball.files, returned),
            Figure::operations("remove-tree.disk", tarball.files, on_disk),
        ])
    }
}
