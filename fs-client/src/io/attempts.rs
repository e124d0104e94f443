//! How long, and how often, something is tried again.

use std::time::Duration;

use cairn_proto::transport::Backoff;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Wait after the first failure; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest wait between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The attempts at one operation.
#[derive(Debug)]
pub(super) struct Attempts {
    backoff: Backoff,
    give_up: Option<Instant>,
    stop: CancellationToken,
}

impl Attempts {
    /// `patience`: how long from now; `None` is for ever. In any case not after `stop`.
    pub(super) fn new(patience: Option<Duration>, stop: CancellationToken) -> Self {
        let give_up = patience.map(|patience| Instant::now() + patience);
        Self { backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), give_up, stop }
    }

    /// Waits a little before the next attempt; or gives `error` back once patience is at its end.
    pub(super) async fn pause<E>(&mut self, error: E) -> Result<(), E> {
        let pause = self.backoff.after_failure();
        if self.give_up.is_some_and(|give_up| Instant::now() + pause > give_up) {
            return Err(error);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.stop.cancelled() => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_up_after_its_patience_and_not_before() {
        let mut attempts = Attempts::new(Some(Duration::from_millis(300)), CancellationToken::new());
        let begin = Instant::now();
        let mut made = 0;
        while attempts.pause("no").await.is_ok() {
            made += 1;
        }
        // The next pause, of at most 320 ms, would not have fitted.
        assert!(begin.elapsed() > Duration::from_millis(20));
        assert!((2..30).contains(&made), "{made}");
    }

    #[tokio::test]
    async fn ends_with_the_mount() {
        let stop = CancellationToken::new();
        let mut attempts = Attempts::new(None, stop.clone());
        assert_eq!(attempts.pause("no").await, Ok(()));
        stop.cancel();
        assert_eq!(attempts.pause("no").await, Err("no"));
    }
}
