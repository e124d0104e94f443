//! What is done to a filesystem, and how it is measured.
//!
//! Names of figures end in the stage that they time: `close` until the calls have returned and files are closed, `disk`
//! until the bytes are on the disk below as well, `fsync` with an fsync of each file or write, `cold` with nothing
//! cached, `again` and `warm` right after that.

mod context;
mod create;
mod list;
mod random_read;
mod random_write;
mod remove_tree;
mod rename;
mod seq_read;
mod seq_write;
mod small_read;
mod sqlite;
mod stat;
mod timing;
mod tree;
mod unlink;
mod untar;

pub use self::context::{Bench, Fixtures, Tools};
pub use self::tree::Tarball;

use crate::error::BenchError;
use crate::figure::Figure;

/// Something that users do, on one target, for one round.
pub trait Workload {
    /// The name by which it is chosen, and the first part of the names of its figures.
    fn name(&self) -> &'static str;

    /// One line for `cairn-bench list`.
    fn about(&self) -> &'static str;

    /// Whether it goes wrong on a target that keeps no data.
    fn needs_data(&self) -> bool {
        false
    }

    /// Prepares what it needs in the directory of `bench`, and measures.
    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError>;
}

/// All workloads in the order in which they run: the file that the first writes is read by those that follow.
pub fn all() -> Vec<Box<dyn Workload>> {
    vec![
        Box::new(seq_write::SeqWrite),
        Box::new(seq_read::SeqRead),
        Box::new(random_read::RandomRead),
        Box::new(random_write::RandomWrite),
        Box::new(create::Create),
        Box::new(stat::Stat),
        Box::new(list::List),
        Box::new(small_read::SmallRead),
        Box::new(rename::Rename),
        Box::new(unlink::Unlink),
        Box::new(untar::Untar),
        Box::new(remove_tree::RemoveTree),
        Box::new(sqlite::Sqlite),
    ]
}

/// The workloads with the given names, in running order; all of them if there are no names.
pub fn select(names: &[String]) -> Result<Vec<Box<dyn Workload>>, BenchError> {
    let workloads = all();
    if let Some(name) = names.iter().find(|name| workloads.iter().all(|workload| workload.name() != *name)) {
        return Err(BenchError::UnknownWorkload { name: name.clone() });
    }
    let wanted = |name| names.is_empty() || names.iter().any(|wanted| wanted == name);
    Ok(workloads.into_iter().filter(|workload| wanted(workload.name())).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn names(workloads: &[Box<dyn Workload>]) -> Vec<&'static str> {
        workloads.iter().map(|workload| workload.name()).collect()
    }

    #[test]
    fn names_are_unique() {
        let names = names(&all());
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn a_selection_keeps_the_running_order_and_refuses_what_is_not_there() {
        let chosen = select(&["stat".to_owned(), "seq-write".to_owned()]).unwrap();
        assert_eq!(names(&chosen), ["seq-write", "stat"]);
        assert_eq!(select(&[]).unwrap().len(), all().len());
        let Err(error) = select(&["stat".to_owned(), "sta".to_owned()]) else { panic!("chosen") };
        assert!(matches!(error, BenchError::UnknownWorkload { name } if name == "sta"));
    }
}
