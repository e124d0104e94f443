//! One measured rate.

use std::time::Duration;

use serde::Serialize;

/// What a rate counts. More is better in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    #[serde(rename = "MiB/s")]
    MebibytesPerSecond,
    #[serde(rename = "ops/s")]
    OperationsPerSecond,
}

impl Unit {
    pub fn label(self) -> &'static str {
        match self {
            Self::MebibytesPerSecond => "MiB/s",
            Self::OperationsPerSecond => "ops/s",
        }
    }
}

/// A rate with the name under which its rounds and targets are compared, `workload.stage`.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub name: String,
    pub unit: Unit,
    pub rate: f64,
    /// Flushes of the disk below for each operation, where that was counted.
    pub flushes: Option<f64>,
}

impl Figure {
    pub fn bytes(name: impl Into<String>, bytes: u64, elapsed: Duration) -> Self {
        let mebibytes = bytes as f64 / (1 << 20) as f64;
        Self { name: name.into(), unit: Unit::MebibytesPerSecond, rate: per_second(mebibytes, elapsed), flushes: None }
    }

    pub fn operations(name: impl Into<String>, operations: u64, elapsed: Duration) -> Self {
        let rate = per_second(operations as f64, elapsed);
        Self { name: name.into(), unit: Unit::OperationsPerSecond, rate, flushes: None }
    }

    /// With what the disk below had to do for that many operations.
    pub fn with_flushes(self, flushes: Option<u64>, operations: u64) -> Self {
        Self { flushes: flushes.map(|flushes| flushes as f64 / operations.max(1) as f64), ..self }
    }
}

/// Nothing is timed more finely than this, so that no rate is infinite.
const SHORTEST: Duration = Duration::from_nanos(1);

fn per_second(amount: f64, elapsed: Duration) -> f64 {
    amount / elapsed.max(SHORTEST).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second() {
        let bytes = Figure::bytes("write.close", 64 << 20, Duration::from_millis(500));
        assert_eq!((bytes.rate, bytes.unit), (128.0, Unit::MebibytesPerSecond));
        let operations = Figure::operations("create.close", 300, Duration::from_secs(2));
        assert_eq!((operations.rate, operations.unit), (150.0, Unit::OperationsPerSecond));
        assert_eq!(operations.with_flushes(Some(75), 300).flushes, Some(0.25));
    }

    #[test]
    fn an_instant_is_not_infinitely_fast() {
        assert!(Figure::operations("stat.warm", 1, Duration::ZERO).rate.is_finite());
    }
}
