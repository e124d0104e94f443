//! What this mount may do with the contents of a file: the lease on it, and who makes use of it at the moment.
//!
//! A lease ends in two steps. Writers are turned away first, so that what they wrote can be sent. Readers are let in to the last
//! moment: a read that the kernel waits for holds pages locked, and dropping the kernel's pages waits for those. So pages are dropped
//! until no read has come in between, and then the lease is over.

use cairn_proto::meta::Lease;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub struct Access {
    inner: Mutex<Inner>,
    /// Somebody is done.
    done: Notify,
}

#[derive(Debug)]
struct Inner {
    /// What may be made use of.
    lease: Lease,
    /// What the metaserver believes that this mount has: more than that, while a lease ends.
    granted: Lease,
    reads: u32,
    writes: u32,
    /// Reads that were ever let in.
    let_in: u64,
    /// Of these, those whose pages were dropped when the last lease ended.
    dropped: u64,
}

/// Reads so far: see [`Access::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads(u64);

/// While it lives, what is remembered of the file is right.
#[derive(Debug)]
pub struct Reading<'a>(&'a Access);

/// While it lives, nobody else looks at the file.
#[derive(Debug)]
pub struct Writing<'a>(&'a Access);

impl Default for Access {
    fn default() -> Self {
        let inner = Inner { lease: Lease::None, granted: Lease::None, reads: 0, writes: 0, let_in: 0, dropped: 0 };
        Self { inner: Mutex::new(inner), done: Notify::new() }
    }
}

impl Access {
    pub fn lease(&self) -> Lease {
        self.inner.lock().lease
    }

    /// What was granted, and not said to be over.
    pub fn granted(&self) -> Lease {
        self.inner.lock().granted
    }

    /// The metaserver is about to be told that nothing unsent is left of an exclusive lease.
    pub fn downgraded(&self) {
        let mut inner = self.inner.lock();
        inner.granted = inner.lease;
    }

    /// `None`: there is no lease.
    pub fn begin_read(&self) -> Option<Reading<'_>> {
        self.read_in(&mut self.inner.lock())
    }

    /// Without a lease: what was answered a moment ago is right until somebody else's turn comes, which waits for this.
    pub fn begin_last_read(&self) -> Reading<'_> {
        self.let_in(&mut self.inner.lock())
    }

    fn read_in(&self, inner: &mut Inner) -> Option<Reading<'_>> {
        (inner.lease >= Lease::Shared).then(|| self.let_in(inner))
    }

    fn write_in(&self, inner: &mut Inner) -> Option<Writing<'_>> {
        (inner.lease >= Lease::Exclusive).then(|| {
            inner.writes += 1;
            Writing(self)
        })
    }

    fn let_in(&self, inner: &mut Inner) -> Reading<'_> {
        (inner.reads, inner.let_in) = (inner.reads + 1, inner.let_in + 1);
        Reading(self)
    }

    /// `None`: there is no exclusive lease.
    pub fn begin_write(&self) -> Option<Writing<'_>> {
        self.write_in(&mut self.inner.lock())
    }

    /// There is a lease, unless it is not there `still`: that is asked where it cannot end meanwhile.
    pub fn grant(&self, lease: Lease, still: impl FnOnce() -> bool) {
        self.inner.lock().grant(lease, still);
    }

    /// As [`Self::grant`], and a read that begins with it: a lease that others wait for may be gone a moment later.
    pub fn grant_to_read(&self, lease: Lease, still: impl FnOnce() -> bool) -> Option<Reading<'_>> {
        let mut inner = self.inner.lock();
        inner.grant(lease, still);
        self.read_in(&mut inner)
    }

    /// The same for a write.
    pub fn grant_to_write(&self, still: impl FnOnce() -> bool) -> Option<Writing<'_>> {
        let mut inner = self.inner.lock();
        inner.grant(Lease::Exclusive, still);
        self.write_in(&mut inner)
    }

    /// No more writes. Returns when those that were let in are done.
    pub async fn end_writes(&self) {
        loop {
            let done = self.done.notified();
            tokio::pin!(done);
            done.as_mut().enable();
            {
                let mut inner = self.inner.lock();
                inner.lease = inner.lease.min(Lease::Shared);
                if inner.writes == 0 {
                    return;
                }
            }
            done.await;
        }
    }

    /// To be asked before what was read is dropped.
    pub fn reads(&self) -> Reads {
        Reads(self.inner.lock().let_in)
    }

    /// The lease is over, if nothing is being written or read, and nothing was let in since `reads`. Answers whether it is.
    pub fn end(&self, reads: Reads) -> bool {
        let mut inner = self.inner.lock();
        let is_quiet = inner.reads == 0 && inner.writes == 0 && inner.let_in == reads.0;
        if is_quiet {
            (inner.lease, inner.granted, inner.dropped) = (Lease::None, Lease::None, inner.let_in);
        }
        is_quiet
    }

    /// Whether nothing was let in since the last lease ended.
    pub fn is_over(&self) -> bool {
        let inner = self.inner.lock();
        inner.reads == 0 && inner.let_in == inner.dropped
    }

    /// Returns when somebody is done, or when nobody is there.
    pub async fn someone_done(&self) {
        let done = self.done.notified();
        tokio::pin!(done);
        done.as_mut().enable();
        let is_idle = {
            let inner = self.inner.lock();
            inner.reads == 0 && inner.writes == 0
        };
        if !is_idle {
            done.await;
        }
    }
}

impl Inner {
    fn grant(&mut self, lease: Lease, still: impl FnOnce() -> bool) {
        if still() {
            self.lease = self.lease.max(lease);
            self.granted = self.granted.max(lease);
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.inner.lock().reads -= 1;
        self.0.done.notify_waiters();
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.inner.lock().writes -= 1;
        self.0.done.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn writers_go_first_and_readers_last() {
        let access = Access::default();
        assert!(access.begin_read().is_none());
        access.grant(Lease::Exclusive, || false);
        assert_eq!(access.lease(), Lease::None);
        access.grant(Lease::Exclusive, || true);
        access.grant(Lease::Shared, || true);
        let writing = access.begin_write().unwrap();
        let early = tokio::time::timeout(Duration::from_millis(10), access.end_writes()).await;
        assert!(early.is_err() && access.begin_write().is_none());
        drop(writing);
        access.end_writes().await;
        assert_eq!(
            (access.lease(), access.granted()),
            (Lease::Shared, Lease::Exclusive),
            "what was written is not sent"
        );
        access.downgraded();
        assert_eq!(access.granted(), Lease::Shared);
        let reads = access.reads();
        let reading = access.begin_read().unwrap();
        assert!(!access.end(reads) && !access.end(access.reads()), "somebody reads");
        drop(reading);
        access.someone_done().await;
        assert!(!access.end(reads), "somebody has read meanwhile");
        drop(access.begin_last_read());
        assert!(!access.is_over() && access.end(access.reads()) && access.is_over());
        assert_eq!(access.granted(), Lease::None);
        assert!(access.begin_read().is_none());
    }
}
