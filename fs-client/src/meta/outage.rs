//! Since when the metaserver is away.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// While there is no connection: since when.
#[derive(Debug)]
pub struct Outage {
    since: watch::Sender<Option<Instant>>,
}

impl Default for Outage {
    fn default() -> Self {
        Self { since: watch::Sender::new(None) }
    }
}

impl Outage {
    /// There is a connection, or there is none any more.
    pub fn connected(&self, connected: bool) {
        self.since.send_if_modified(|since| {
            let changed = since.is_none() != connected;
            if changed {
                *since = (!connected).then(Instant::now);
            }
            changed
        });
    }

    /// How long there has been no connection, if there is none.
    pub fn lasts(&self) -> Option<Duration> {
        self.since.borrow().map(|since| since.elapsed())
    }

    /// Returns once there has been no connection for `limit`.
    pub async fn has_lasted(&self, limit: Duration) {
        let mut changes = self.since.subscribe();
        loop {
            let since = *changes.borrow_and_update();
            let due = async {
                match since {
                    Some(since) => tokio::time::sleep_until((since + limit).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => return,
                // The sender is here, so it cannot have gone.
                _ = changes.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn only_one_that_goes_on_has_lasted() {
        let outage = Outage::default();
        assert!(outage.lasts().is_none());
        outage.connected(false);
        let since = outage.lasts();
        let waiting = tokio::time::timeout(MOMENT / 4, outage.has_lasted(MOMENT)).await;
        assert!(since.is_some() && waiting.is_err());
        outage.connected(true);
        assert!(outage.lasts().is_none());
        assert!(tokio::time::timeout(MOMENT * 2, outage.has_lasted(MOMENT)).await.is_err());
        outage.connected(false);
        outage.has_lasted(MOMENT).await;
        outage.connected(false);
        assert!(outage.lasts().unwrap() >= MOMENT, "it is still the same one");
        assert!(outage.has_lasted(MOMENT).now_or_never().is_some());
    }
}
