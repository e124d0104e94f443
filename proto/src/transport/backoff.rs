//! Exponential back-off with jitter.

use std::time::Duration;

/// How long to wait after each failure in a row.
///
/// The wait doubles from `first` to `most`; each one is drawn between half of it and all of it, so that those who failed
/// together do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The wait after one more failure.
    pub fn after_failure(&mut self) -> Duration {
        let wait = self.next.min(self.most);
        self.next = (wait * 2).min(self.most);
        wait.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }

    /// To be called after a success: the next failure waits `first` again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_starts_again() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(10), ms(35));
        for most in [ms(10), ms(20), ms(35), ms(35)] {
            let wait = backoff.after_failure();
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
        }
        backoff.reset();
        assert!(backoff.after_failure() <= ms(10));
    }
}
