//! Which session holds which inode open, and which unlinked inodes are being freed.
//!
//! In memory only: after a restart the sessions say again what they hold, and nothing is freed before they had the time to.
//! Both questions stand under one lock, so that an inode is either open or being freed: `open` registers here first and looks
//! for the inode afterwards, the reaper asks here first and frees afterwards.

use std::collections::{HashMap, HashSet};

use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use parking_lot::Mutex;

/// The open files of all sessions.
#[derive(Debug, Default)]
pub struct OpenFiles {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<SessionId, HashMap<InodeId, Open>>,
    inodes: HashMap<InodeId, Holders>,
    reaping: HashSet<InodeId>,
    /// Files with a writer that did not close them: its session ended first.
    abandoned: HashSet<InodeId>,
}

/// How one session holds one inode.
#[derive(Clone, Copy, Debug)]
struct Open {
    count: u32,
    /// At least one of them may write. A release does not say which one it ends, so this stays until the last.
    write: bool,
}

/// How others hold an inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Others {
    /// At least one of them may write.
    pub write: bool,
}

/// How many sessions hold one inode.
#[derive(Clone, Copy, Debug, Default)]
struct Holders {
    sessions: u32,
    writers: u32,
}

impl OpenFiles {
    /// From now on `session` may open files.
    pub fn admit(&self, session: SessionId) {
        self.inner.lock().sessions.entry(session).or_default();
    }

    /// Registers one more open of `inode`. The caller then makes sure that the inode exists, and releases it where it does not.
    pub fn open(&self, session: SessionId, inode: InodeId, write: bool) -> Result<(), FsError> {
        let mut inner = self.inner.lock();
        if inner.reaping.contains(&inode) {
            return Err(FsError::Stale(inode));
        }
        inner.add(session, inode, 1, write)
    }

    /// A session that lost its connection, or outlived a restart, says what it holds. Where this metaserver remembers more opens
    /// of an inode it keeps them: too many cost space until the session ends, too few would cost an open file its data.
    /// Without knowing better, it counts as a writer.
    pub fn resume(&self, session: SessionId, held: &[InodeId]) -> Result<(), FsError> {
        let mut counts: HashMap<InodeId, u32> = HashMap::new();
        for &inode in held {
            *counts.entry(inode).or_default() += 1;
        }
        let mut inner = self.inner.lock();
        for (inode, count) in counts {
            if inner.reaping.contains(&inode) {
                continue;
            }
            let known = inner.sessions.get(&session).and_then(|open| open.get(&inode)).copied();
            let missing = count.saturating_sub(known.map_or(0, |open| open.count));
            if missing > 0 {
                inner.add(session, inode, missing, known.is_none_or(|open| open.write))?;
            }
        }
        Ok(())
    }

    /// Ends one open for each mention of an inode.
    pub fn release(&self, session: SessionId, inodes: &[InodeId]) {
        let mut inner = self.inner.lock();
        for &inode in inodes {
            inner.release(session, inode);
        }
    }

    /// Ends all opens of a session, and takes no more. What it was writing to is abandoned.
    pub fn drop_session(&self, session: SessionId) {
        let mut inner = self.inner.lock();
        for (inode, open) in inner.sessions.remove(&session).unwrap_or_default() {
            inner.let_go(inode, open);
            if open.write {
                inner.abandoned.insert(inode);
            }
        }
    }

    /// Whether a writer of `inode` vanished, and its chunks may be in the state that it left them in.
    pub fn is_abandoned(&self, inode: InodeId) -> bool {
        self.inner.lock().abandoned.contains(&inode)
    }

    pub fn abandoned(&self) -> HashSet<InodeId> {
        self.inner.lock().abandoned.clone()
    }

    /// What vanished writers left behind in these inodes has been looked after.
    pub fn forget_abandoned<'a>(&self, inodes: impl Iterator<Item = &'a InodeId>) {
        let mut inner = self.inner.lock();
        for inode in inodes {
            inner.abandoned.remove(inode);
        }
    }

    /// Of `orphans`, those that nobody holds open. Nobody can open them until [`OpenFiles::end_reap`].
    pub fn begin_reap(&self, orphans: &[InodeId]) -> Vec<InodeId> {
        let mut inner = self.inner.lock();
        let free: Vec<_> = orphans.iter().copied().filter(|inode| !inner.inodes.contains_key(inode)).collect();
        inner.reaping.extend(&free);
        free
    }

    pub fn end_reap(&self, inodes: &[InodeId]) {
        let mut inner = self.inner.lock();
        for inode in inodes {
            inner.reaping.remove(inode);
        }
    }

    /// Whether some session may be writing to `inode`.
    pub fn has_writer(&self, inode: InodeId) -> bool {
        self.inner.lock().has_writer(inode)
    }

    /// How other sessions than `session` have `inode` open, if any has.
    pub fn others(&self, session: SessionId, inode: InodeId) -> Option<Others> {
        let inner = self.inner.lock();
        let holders = *inner.inodes.get(&inode)?;
        let own = inner.sessions.get(&session).and_then(|open| open.get(&inode));
        let writes = own.is_some_and(|open| open.write);
        let others = holders.sessions - u32::from(own.is_some());
        (others > 0).then_some(Others { write: holders.writers > u32::from(writes) })
    }

    pub fn is_open(&self, session: SessionId, inode: InodeId) -> bool {
        self.inner.lock().sessions.get(&session).is_some_and(|open| open.contains_key(&inode))
    }

    /// Inodes that `session` holds open.
    pub fn count(&self, session: SessionId) -> u64 {
        self.inner.lock().sessions.get(&session).map_or(0, |open| open.len() as u64)
    }
}

impl Inner {
    fn has_writer(&self, inode: InodeId) -> bool {
        self.inodes.get(&inode).is_some_and(|holders| holders.writers > 0)
    }

    fn add(&mut self, session: SessionId, inode: InodeId, count: u32, write: bool) -> Result<(), FsError> {
        let files = self.sessions.get_mut(&session).ok_or(FsError::SessionUnknown(session))?;
        let holders = self.inodes.entry(inode).or_default();
        let open = files.entry(inode).or_insert_with(|| {
            holders.sessions += 1;
            Open { count: 0, write: false }
        });
        open.count = open.count.saturating_add(count);
        if write && !open.write {
            open.write = true;
            holders.writers += 1;
        }
        Ok(())
    }

    fn release(&mut self, session: SessionId, inode: InodeId) {
        let Some(files) = self.sessions.get_mut(&session) else { return };
        let Some(open) = files.get_mut(&inode) else { return };
        open.count -= 1;
        if open.count == 0 {
            let open = *open;
            files.remove(&inode);
            self.let_go(inode, open);
        }
    }

    fn let_go(&mut self, inode: InodeId, open: Open) {
        let Some(holders) = self.inodes.get_mut(&inode) else { return };
        holders.sessions -= 1;
        holders.writers -= u32::from(open.write);
        if holders.sessions == 0 {
            self.inodes.remove(&inode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);
    const FILE: InodeId = InodeId(7);

    fn of_two_sessions() -> OpenFiles {
        let files = OpenFiles::default();
        files.admit(A);
        files.admit(B);
        files
    }

    fn is_free(files: &OpenFiles) -> bool {
        let free = files.begin_reap(&[FILE]);
        files.end_reap(&free);
        !free.is_empty()
    }

    #[test]
    fn released_as_often_as_opened() {
        let files = of_two_sessions();
        files.open(A, FILE, false).unwrap();
        files.open(A, FILE, true).unwrap();
        files.open(B, FILE, false).unwrap();
        assert!(files.has_writer(FILE));
        files.release(A, &[FILE]);
        assert!(files.has_writer(FILE));
        files.release(A, &[FILE]);
        assert!(!files.has_writer(FILE) && !is_free(&files));
        files.release(A, &[FILE]);
        assert!(!is_free(&files));
        files.release(B, &[FILE]);
        assert!(is_free(&files));
    }

    #[test]
    fn open_or_being_freed_never_both() {
        let files = of_two_sessions();
        assert_eq!(files.begin_reap(&[FILE]), [FILE]);
        assert_eq!(files.open(A, FILE, false), Err(FsError::Stale(FILE)));
        files.resume(A, &[FILE]).unwrap();
        assert_eq!(files.count(A), 0);
        files.end_reap(&[FILE]);
        files.open(A, FILE, false).unwrap();
        assert_eq!(files.begin_reap(&[FILE, InodeId(8)]), [InodeId(8)]);
    }

    #[test]
    fn the_end_of_a_session_lets_go() {
        let files = of_two_sessions();
        files.open(A, FILE, true).unwrap();
        files.drop_session(A);
        assert!(is_free(&files) && !files.has_writer(FILE));
        assert_eq!(files.open(A, FILE, true), Err(FsError::SessionUnknown(A)));
    }

    #[test]
    fn only_a_writer_that_vanishes_abandons() {
        let files = of_two_sessions();
        files.open(A, FILE, true).unwrap();
        files.open(B, FILE, true).unwrap();
        files.open(A, InodeId(8), false).unwrap();
        files.open(A, InodeId(9), true).unwrap();
        files.release(A, &[InodeId(9)]);
        assert!(files.abandoned().is_empty());
        files.drop_session(A);
        assert!(files.is_abandoned(FILE) && files.has_writer(FILE));
        assert_eq!(files.abandoned(), HashSet::from([FILE]));
        files.forget_abandoned([FILE].iter());
        assert!(!files.is_abandoned(FILE));
    }

    #[test]
    fn resuming_never_forgets_an_open() {
        let files = of_two_sessions();
        files.resume(A, &[FILE, FILE]).unwrap();
        assert!(files.has_writer(FILE));
        files.resume(A, &[FILE]).unwrap();
        files.release(A, &[FILE]);
        assert!(!is_free(&files));
        files.resume(A, &[FILE]).unwrap();
        files.release(A, &[FILE]);
        assert!(is_free(&files));
    }
}
