//! Memory that is handed out in bytes, first come first served, and waited for when it is used up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

/// A limit of bytes.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    free: Semaphore,
    /// Bytes taken beyond the limit by those who could not wait: paid back before anything becomes free.
    debt: AtomicUsize,
}

/// Bytes set aside, returned when dropped unless they were [used](Reservation::settle).
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let limit = limit.clamp(1, u32::MAX as usize);
        Arc::new(Self { limit, free: Semaphore::new(limit), debt: AtomicUsize::new(0) })
    }

    /// Waits until `bytes` are free. More than the limit waits until all is free, and takes all.
    pub(super) async fn reserve(self: &Arc<Self>, bytes: usize) -> Reservation {
        let now = bytes.min(self.limit);
        self.free.acquire_many(now as u32).await.expect("the semaphore is never closed").forget();
        self.debt.fetch_add(bytes - now, Ordering::AcqRel);
        Reservation { budget: self.clone(), bytes }
    }

    /// `bytes`, if they are free now.
    pub(super) fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        self.try_take(bytes).then(|| Reservation { budget: self.clone(), bytes })
    }

    /// `bytes`, if they are free now.
    pub(super) fn try_take(&self, bytes: usize) -> bool {
        let Ok(wanted) = u32::try_from(bytes) else { return false };
        self.free.try_acquire_many(wanted).map(|permit| permit.forget()).is_ok()
    }

    /// `bytes` in any case: beyond the limit where nothing is free.
    pub(super) fn take(&self, bytes: usize) {
        if !self.try_take(bytes) {
            self.debt.fetch_add(bytes, Ordering::AcqRel);
        }
    }

    pub(super) fn give_back(&self, bytes: usize) {
        let mut repaid = 0;
        let _ = self.debt.fetch_update(Ordering::AcqRel, Ordering::Acquire, |debt| {
            repaid = debt.min(bytes);
            Some(debt - repaid)
        });
        if bytes > repaid {
            self.free.add_permits(bytes - repaid);
        }
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.limit - self.free.available_permits() + self.debt.load(Ordering::Acquire)
    }

    /// More than half is in use: time to send early.
    pub(super) fn is_tight(&self) -> bool {
        self.used() > self.limit / 2
    }
}

impl Reservation {
    /// What it was for has made the amount in use go from `before` to `after`: keeps the difference taken, returns the rest.
    pub(super) fn settle(mut self, before: usize, after: usize) {
        debug_assert!(after <= before + self.bytes, "{before} to {after} with {}", self.bytes);
        self.bytes = (self.bytes + before).saturating_sub(after);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_what_is_not_free() {
        let budget = Budget::new(100);
        let first = budget.reserve(80).await;
        assert!(!budget.try_take(30));
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.reserve(60).await.settle(0, 60) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        first.settle(5, 35);
        waiting.await.unwrap();
        assert_eq!(budget.used(), 90);
        budget.give_back(90);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn what_is_larger_than_everything_still_gets_through() {
        let budget = Budget::new(100);
        budget.reserve(250).await.settle(0, 250);
        assert_eq!(budget.used(), 250);
        budget.take(50);
        assert_eq!(budget.used(), 300);
        budget.give_back(200);
        assert!(!budget.try_take(1));
        budget.give_back(100);
        assert_eq!(budget.used(), 0);
        assert!(budget.try_take(100));
    }
}
