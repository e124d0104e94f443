//! The samples of a run, by figure and target.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::environment::Environment;
use crate::figure::{Figure, Unit};
use crate::fio::Engine;
use crate::scale::Scale;
use crate::stats;
use crate::target::TargetKind;

/// Version of the layout of `results.json`.
const FORMAT: u32 = 2;

/// Everything that a run has found so far.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Results {
    format: u32,
    pub environment: Environment,
    pub scale: Scale,
    pub engine: Engine,
    pub rounds: u32,
    pub targets: Vec<TargetKind>,
    pub figures: Vec<Series>,
    pub skipped: Vec<Skip>,
    pub failures: Vec<Failure>,
}

/// One figure on all targets, round by round.
#[derive(Debug, Clone)]
pub struct Series {
    pub name: String,
    pub unit: Unit,
    pub samples: BTreeMap<TargetKind, Vec<f64>>,
    /// Flushes of the disk below for each operation, where they were counted.
    pub flushes: BTreeMap<TargetKind, Vec<f64>>,
}

/// A workload that does not make sense on a target.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Skip {
    pub target: TargetKind,
    pub workload: &'static str,
    pub reason: &'static str,
}

/// Something that went wrong.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Failure {
    pub target: TargetKind,
    pub round: u32,
    /// The name of a workload, `start`, `warm-up` or `stop`.
    pub stage: &'static str,
    pub error: String,
}

impl Results {
    pub fn new(environment: Environment, scale: Scale, engine: Engine, rounds: u32, targets: Vec<TargetKind>) -> Self {
        let (figures, skipped, failures) = Default::default();
        Self { format: FORMAT, environment, scale, engine, rounds, targets, figures, skipped, failures }
    }

    /// Adds a sample. Figures keep the order in which they first came.
    pub fn record(&mut self, target: TargetKind, figure: Figure) {
        let index = self.figures.iter().position(|series| series.name == figure.name).unwrap_or_else(|| {
            let (samples, flushes) = Default::default();
            self.figures.push(Series { name: figure.name.clone(), unit: figure.unit, samples, flushes });
            self.figures.len() - 1
        });
        let series = &mut self.figures[index];
        series.samples.entry(target).or_default().push(figure.rate);
        series.flushes.entry(target).or_default().extend(figure.flushes);
    }

    /// Notes that a workload is left out, once for all rounds.
    pub fn skip(&mut self, skip: Skip) {
        if !self.skipped.contains(&skip) {
            self.skipped.push(skip);
        }
    }

    /// What the table does not say: where CairnFS is behind MooseFS, what waited for the disk, what was left out and what failed.
    pub fn remarks(&self) -> Vec<String> {
        let behind = self.figures.iter().flat_map(Series::behind);
        let flushes = self.figures.iter().filter_map(Series::flushes_in_words);
        let skipped = self
            .skipped
            .iter()
            .map(|skip| format!("{} skipped on {}: {}", skip.workload, skip.target.name(), skip.reason));
        let failures = self.failures.iter().map(|failure| {
            let Failure { target, round, stage, error } = failure;
            format!("FAILED: {stage} on {} in round {round}: {error}", target.name())
        });
        behind.chain(flushes).chain(skipped).chain(failures).collect()
    }
}

impl Series {
    pub fn median(&self, target: TargetKind) -> Option<f64> {
        stats::median(self.samples.get(&target)?)
    }

    pub fn spread(&self, target: TargetKind) -> Option<f64> {
        stats::spread(self.samples.get(&target)?)
    }

    /// The peers that CairnFS is behind, in words.
    fn behind(&self) -> Vec<String> {
        let mut peers = vec![TargetKind::Moosefs];
        if self.is_until_fsync() {
            peers.push(TargetKind::MoosefsDurable);
        }
        let behind = peers.into_iter().filter_map(|peer| {
            let ratio = self.ratio(TargetKind::Cairn, peer).filter(|ratio| *ratio < 1.0)?;
            let says_too_early = peer == TargetKind::Moosefs && self.is_until_fsync();
            let but = if says_too_early { " (whose fsync does not wait for a disk)" } else { "" };
            Some(format!("cairn is behind {} in {}: {ratio:.2}x{but}", peer.name(), self.name))
        });
        behind.collect()
    }

    /// How often the disk was flushed for each operation.
    fn flushes_in_words(&self) -> Option<String> {
        let medians = self.flushes.iter().filter_map(|(target, flushes)| Some((target, stats::median(flushes)?)));
        let words: Vec<_> = medians.map(|(target, median)| format!("{} {median:.2}", target.name())).collect();
        (!words.is_empty())
            .then(|| format!("flushes of the disk for each operation of {}: {}", self.name, words.join(", ")))
    }

    /// An fsync is all that ends its time: what its peers promise by that decides what they are compared for.
    fn is_until_fsync(&self) -> bool {
        self.name.ends_with(".fsync")
    }

    /// How many times as fast `subject` is as `peer`.
    pub fn ratio(&self, subject: TargetKind, peer: TargetKind) -> Option<f64> {
        stats::ratio(self.median(subject), self.median(peer))
    }
}

/// With the medians, which every reader of the file wants, and the samples, for those who doubt them.
impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let medians: BTreeMap<_, _> = self.samples.keys().map(|target| (target, self.median(*target))).collect();
        let mut record = serializer.serialize_struct("Series", 5)?;
        record.serialize_field("name", &self.name)?;
        record.serialize_field("unit", &self.unit)?;
        record.serialize_field("medians", &medians)?;
        record.serialize_field("samples", &self.samples)?;
        record.serialize_field("flushes", &self.flushes)?;
        record.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let targets = vec![TargetKind::Moosefs, TargetKind::Cairn];
        Results::new(Environment::default(), Scale::quick(), Engine::Libaio, 3, targets)
    }

    fn figure(name: &str, rate: f64) -> Figure {
        Figure { name: name.to_owned(), unit: Unit::OperationsPerSecond, rate, flushes: None }
    }

    #[test]
    fn samples_of_a_figure_come_together_over_rounds_and_targets() {
        let mut results = results();
        for (cairn, moosefs) in [(30.0, 10.0), (90.0, 11.0), (31.0, 9.0)] {
            results.record(TargetKind::Cairn, figure("stat.warm", cairn));
            results.record(TargetKind::Moosefs, figure("stat.warm", moosefs));
            results.record(TargetKind::Cairn, figure("list.warm", 1.0));
        }
        assert_eq!(results.figures.len(), 2);
        assert_eq!(results.figures[0].ratio(TargetKind::Cairn, TargetKind::Moosefs), Some(3.1));
        assert_eq!(results.figures[1].ratio(TargetKind::Cairn, TargetKind::Moosefs), None);
    }

    #[test]
    fn remarks_name_what_is_behind_skipped_and_failed() {
        let mut results = results();
        results.record(TargetKind::Cairn, figure("untar.close", 5.0));
        results.record(TargetKind::Moosefs, figure("untar.close", 10.0));
        let skip = Skip { target: TargetKind::Null, workload: "sqlite", reason: "keeps no data" };
        results.skip(skip.clone());
        results.skip(skip);
        results.failures.push(Failure {
            target: TargetKind::Cairn,
            round: 2,
            stage: "start",
            error: "gone".to_owned(),
        });
        assert_eq!(
            results.remarks(),
            [
                "cairn is behind moosefs in untar.close: 0.50x",
                "sqlite skipped on null: keeps no data",
                "FAILED: start on cairn in round 2: gone",
            ]
        );
    }

    #[test]
    fn remarks_say_what_waited_for_the_disk() {
        let mut results = results();
        for flushes in [2.0, 4.0, 3.0] {
            let counted = Figure { flushes: Some(flushes), ..figure("sqlite.fsync", 1.0) };
            results.record(TargetKind::Cairn, counted);
        }
        results.record(TargetKind::Moosefs, Figure { flushes: Some(0.004), ..figure("sqlite.fsync", 1.0) });
        results.record(TargetKind::Moosefs, figure("untar.close", 1.0));
        assert_eq!(
            results.remarks(),
            ["flushes of the disk for each operation of sqlite.fsync: moosefs 0.00, cairn 3.00"]
        );
    }

    #[test]
    fn an_fsync_is_compared_with_one_that_waits_for_the_disk_too() {
        let mut results = results();
        for (target, rate) in [(TargetKind::Cairn, 5.0), (TargetKind::Moosefs, 10.0), (TargetKind::MoosefsDurable, 8.0)]
        {
            results.record(target, figure("create.1.fsync", rate));
            results.record(target, figure("create.1.close", 11.0 - rate));
        }
        assert_eq!(
            results.remarks(),
            [
                "cairn is behind moosefs in create.1.fsync: 0.50x (whose fsync does not wait for a disk)",
                "cairn is behind moosefs-durable in create.1.fsync: 0.62x",
            ]
        );
    }

    #[test]
    fn the_file_has_medians_and_samples_by_the_names_of_targets() {
        let mut results = results();
        results.record(TargetKind::MoosefsDurable, figure("stat.warm", 4.0));
        let json = serde_json::to_value(&results).unwrap();
        assert_eq!(json["format"], 2);
        assert_eq!(json["figures"][0]["unit"], "ops/s");
        assert_eq!(json["figures"][0]["medians"]["moosefs-durable"], 4.0);
        assert_eq!(json["figures"][0]["samples"]["moosefs-durable"][0], 4.0);
    }
}
