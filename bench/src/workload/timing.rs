//! Timing of passes that are over too soon.

use std::time::{Duration, Instant};

use crate::error::BenchError;

/// A warm pass over a few thousand files can take a few milliseconds; it is repeated until it has taken this long.
const SHORTEST_MEASUREMENT: Duration = Duration::from_millis(500);

/// Repeats `pass`, which answers with its number of operations; returns their sum and the time that they took.
pub fn repeat(mut pass: impl FnMut() -> Result<u64, BenchError>) -> Result<(u64, Duration), BenchError> {
    let start = Instant::now();
    let mut operations = 0;
    loop {
        operations += pass()?;
        let elapsed = start.elapsed();
        if elapsed >= SHORTEST_MEASUREMENT {
            return Ok((operations, elapsed));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    #[test]
    fn quick_passes_are_summed_up() {
        let mut passes = 0;
        let (operations, elapsed) = repeat(|| {
            passes += 1;
            sleep(Duration::from_millis(60));
            Ok(10)
        })
        .unwrap();
        assert!(passes > 1 && operations == passes * 10);
        assert!(elapsed >= SHORTEST_MEASUREMENT);
    }
}
