//! What is done for files without anybody asking: written bytes are sent and committed when they are old enough, chunks of files
//! that are left alone are handed back.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use super::file::FileIo;
use super::shared::Shared;

/// Between two looks at the files.
const PERIOD: Duration = Duration::from_millis(250);

/// A file whose background work failed is left alone for so long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What a file needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    Nothing,
    /// Nothing is left to do.
    Rest,
    Commit,
    HandBack,
}

/// Runs until the mount is gone.
pub(super) async fn run(shared: Weak<Shared>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let Some(limit) = shared.upgrade().map(|shared| shared.config.background_files.max(1)) else { return };
    let at_a_time = Arc::new(Semaphore::new(limit));
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        for file in shared.files.active() {
            file.look_after(&at_a_time);
        }
    }
}

impl FileIo {
    fn look_after(self: Arc<Self>, at_a_time: &Arc<Semaphore>) {
        let need = self.need();
        // Old runs have been pushed.
        self.launch();
        if matches!(need, Need::Nothing | Need::Rest) {
            return;
        }
        let Ok(permit) = at_a_time.clone().try_acquire_owned() else { return };
        self.state.lock().activity.busy = true;
        let runtime = self.shared.runtime.clone();
        runtime.spawn(async move {
            let done = match need {
                Need::HandBack => self.hand_back_all().await,
                Need::Commit | Need::Nothing | Need::Rest => self.commit_what_is_whole().await.is_ok(),
            };
            let mut state = self.state.lock();
            state.activity.busy = false;
            state.activity.not_before = (!done).then(|| Instant::now() + RETRY_AFTER);
            drop(state);
            drop(permit);
        });
    }

    fn need(&self) -> Need {
        let config = &self.shared.config;
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.activity.dirty_since.is_some_and(|since| now - since >= config.dirty_age) {
            state.push();
        }
        if state.activity.busy || state.activity.not_before.is_some_and(|at| at > now) {
            return Need::Nothing;
        }
        if state.changes.since().is_some_and(|since| now - since >= config.dirty_age) {
            return Need::Commit;
        }
        if state.is_dirty() {
            return Need::Nothing;
        }
        if state.acks.has_dirty() || state.acks.has_unsynced() {
            let idle = now - state.activity.last_write >= config.idle_hand_back;
            return if idle { Need::HandBack } else { Need::Nothing };
        }
        state.activity.active = false;
        self.shared.files.deactivate(self.inode);
        Need::Rest
    }
}
