//! Goes through rounds, targets and workloads.
//!
//! Only one target is up at a time, so that none pays for another's idle work, and the order turns with every
//! round, so that none always comes after the same. A target that fails is noted and the others go on.

use std::env::current_exe;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use crate::args::RunArguments;
use crate::contents::{BLOCK_BYTES, Contents};
use crate::disk::Flushes;
use crate::environment::Environment;
use crate::error::{BenchError, IoContext};
use crate::figure::Figure;
use crate::fio::Engine;
use crate::report::{self, Failure, Results, Skip};
use crate::scale::Scale;
use crate::target::{Site, Target, TargetKind};
use crate::watchdog::Watchdog;
use crate::workload::{self, Bench, Fixtures, Tarball, Tools, Workload};

/// A run in progress.
struct Run {
    arguments: RunArguments,
    scale: Scale,
    tools: Tools,
    workloads: Rc<[Box<dyn Workload>]>,
    cairn_program: PathBuf,
    null_program: PathBuf,
    flushes: Option<Flushes>,
    results: Results,
}

/// Measures all that `arguments` ask for. Results are written after every target, so that a run that is
/// broken off leaves what it had.
pub fn run(arguments: RunArguments) -> Result<Results, BenchError> {
    let mut run = Run::prepare(arguments)?;
    for round in 1..=run.arguments.rounds {
        for target in order(&run.arguments.targets, round) {
            run.measure_target(target, round)?;
            report::write(&run.results, &run.arguments.out)?;
        }
    }
    Ok(run.results)
}

/// The targets of `round`, which counts from 1: each round begins with the next one.
fn order(targets: &[TargetKind], round: u32) -> Vec<TargetKind> {
    let mut targets = targets.to_vec();
    let turn = (round as usize - 1) % targets.len().max(1);
    targets.rotate_left(turn);
    targets
}

impl Run {
    fn prepare(arguments: RunArguments) -> Result<Self, BenchError> {
        let workloads = workload::select(&arguments.workloads)?.into();
        let scale = arguments.scale();
        let scratch = arguments.work.join("scratch");
        for directory in [&scratch, &arguments.out] {
            fs::create_dir_all(directory).doing("create", directory)?;
        }
        let engine = Engine::probe(&scratch)?;
        let tarball = Tarball::build(&scratch, scale.tree_files)?;
        let cairn_program = program(arguments.cairn.as_deref(), "cairn")?;
        let null_program = program(arguments.null_fuse.as_deref(), "cairn-null-fuse")?;
        let environment = Environment::observe(&arguments.work, &cairn_program);
        let results = Results::new(environment, scale.clone(), engine, arguments.rounds, arguments.targets.clone());
        let tools = Tools { scratch, engine, tarball };
        let flushes = Flushes::below(&arguments.work);
        Ok(Self { arguments, scale, tools, workloads, cairn_program, null_program, flushes, results })
    }

    /// Sets `kind` up, runs the workloads on it and takes it down.
    fn measure_target(&mut self, kind: TargetKind, round: u32) -> Result<(), BenchError> {
        let name = format!("{}-{round}", kind.name());
        let directory = self.arguments.work.join(&name);
        let logs = self.arguments.out.join("logs").join(&name);
        for new in [&directory, &logs] {
            fs::create_dir_all(new).doing("create", new)?;
        }
        let site = Site {
            directory: directory.clone(),
            logs,
            cairn_program: self.cairn_program.clone(),
            null_program: self.null_program.clone(),
        };
        let watchdog = self.watch(kind, "start");
        let started = kind.start(site);
        drop(watchdog);
        match started {
            Ok(mut target) => {
                self.measure_workloads(target.as_mut(), kind, round);
                let _watchdog = self.watch(kind, "stop");
                if let Err(error) = target.stop() {
                    self.note(kind, round, "stop", &error);
                }
            }
            Err(error) => self.note(kind, round, "start", &error),
        }
        fs::remove_dir_all(&directory).doing("remove", &directory)
    }

    fn measure_workloads(&mut self, target: &mut dyn Target, kind: TargetKind, round: u32) {
        let was_mounted = is_mounted(target);
        if let Err(error) = warm_up(target) {
            return self.note(kind, round, "warm-up", &error);
        }
        let mut fixtures = Fixtures::default();
        for workload in Rc::clone(&self.workloads).iter() {
            if workload.needs_data() && !target.keeps_data() {
                let reason = "the target keeps no data, and the workload reads it back";
                self.results.skip(Skip { target: kind, workload: workload.name(), reason });
                continue;
            }
            let _watchdog = self.watch(kind, workload.name());
            let start = Instant::now();
            let measured = if is_mounted(target) == was_mounted {
                self.measure(workload.as_ref(), target, &mut fixtures)
            } else {
                // This would measure the directory below.
                Err(BenchError::NotMounted { path: target.root().to_owned() })
            };
            match measured {
                Ok(figures) => figures.into_iter().for_each(|figure| self.results.record(kind, figure)),
                Err(error) => self.note(kind, round, workload.name(), &error),
            }
            let (rounds, seconds) = (self.arguments.rounds, start.elapsed().as_secs_f64());
            eprintln!("round {round}/{rounds}  {:<16} {:<13} {seconds:6.1} s", kind.name(), workload.name());
        }
    }

    /// Runs one workload in a new directory, which is gone afterwards, and leaves the disk idle.
    fn measure(
        &self,
        workload: &dyn Workload,
        target: &mut dyn Target,
        fixtures: &mut Fixtures,
    ) -> Result<Vec<Figure>, BenchError> {
        let directory = target.root().join(workload.name());
        fs::create_dir(&directory).doing("create", &directory)?;
        target.sync_backing()?;
        let (scale, tools) = (&self.scale, &self.tools);
        let flushes = self.flushes.as_ref();
        let mut bench = Bench { target: &mut *target, scale, tools, fixtures, directory: directory.clone(), flushes };
        let figures = workload.run(&mut bench)?;
        fs::remove_dir_all(&directory).doing("remove", &directory)?;
        target.sync_backing()?;
        Ok(figures)
    }

    fn watch(&self, kind: TargetKind, stage: &str) -> Watchdog {
        Watchdog::new(self.arguments.limit(), format!("{stage} on {}", kind.name()))
    }

    fn note(&mut self, target: TargetKind, round: u32, stage: &'static str, error: &BenchError) {
        eprintln!("round {round}: {stage} on {} failed: {error}", target.name());
        self.results.failures.push(Failure { target, round, stage, error: error.to_string() });
    }
}

/// Whether the root is another file system than the directory that it is in. (Of `local` it is not.)
fn is_mounted(target: &dyn Target) -> bool {
    let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
    device(target.root()) != target.root().parent().and_then(device)
}

/// Writes a little, so that what a fresh cluster does once (MooseFS takes about a second for its first chunk) is not
/// part of the first workload.
fn warm_up(target: &dyn Target) -> Result<(), BenchError> {
    let path = target.root().join("warm-up");
    let bytes = Contents::new(BLOCK_BYTES).stamped(0).to_vec();
    let mut file = File::create_new(&path).doing("create", &path)?;
    file.write_all(&bytes).doing("write", &path)?;
    file.sync_all().doing("fsync", &path)?;
    drop(file);
    fs::remove_file(&path).doing("remove", &path)
}

/// A program given by path, or the one of that name beside this program.
fn program(given: Option<&Path>, name: &str) -> Result<PathBuf, BenchError> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let own = current_exe().doing("find", Path::new("this program"))?;
    Ok(own.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another_target() {
        let targets = [TargetKind::Local, TargetKind::Null, TargetKind::Cairn];
        assert_eq!(order(&targets, 1), targets);
        assert_eq!(order(&targets, 2), [TargetKind::Null, TargetKind::Cairn, TargetKind::Local]);
        assert_eq!(order(&targets, 4), targets);
        assert_eq!(order(&[], 1), []);
    }
}
