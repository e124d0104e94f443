//! Directories of which this mount knows that nobody else has changed them.
//!
//! Each answer about a directory carries its [`Attr::changed_at`], and the answer to each change of this mount also what that was
//! before. As long as these follow each other without a gap, nobody else came in between, and every name that was learned on the way is
//! still right, however long ago that was. A directory is believed to be unchanged for as long after the last such answer as
//! attributes are.
//!
//! Of a directory that this mount has made itself all names are known: what is not among them does not exist.

use std::time::Duration;

use cairn_proto::attr::Attr;
use cairn_proto::ids::{InodeId, LogIndex};
use cairn_proto::meta::ChangedDir;

use super::clock::Moment;
use super::lru::ShardedLru;

/// A directory that this mount has changed so lately is likely to be changed again at once.
const LATELY: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub struct DirCache {
    dirs: ShardedLru<InodeId, Dir>,
    validity: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Dir {
    changed_at: LogIndex,
    /// Names that were asked for since then are right. The moment when the answer came: what was asked for before that may have been
    /// answered before what came in between.
    since: Moment,
    until: Moment,
    complete: bool,
    /// When this mount sent its last change.
    our_change: Option<Moment>,
}

/// What is known of a directory that nobody else has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unchanged {
    /// Since this moment.
    pub since: Moment,
    pub remaining: Duration,
    /// Every name in it is known.
    pub complete: bool,
    /// This mount is in the middle of changing it.
    pub changing: bool,
}

impl DirCache {
    pub fn new(capacity: usize, validity: Duration) -> Self {
        Self { dirs: ShardedLru::new(capacity), validity }
    }

    pub fn get(&self, inode: InodeId, now: Moment) -> Option<Unchanged> {
        let dir = self.dirs.get(&inode)?;
        let remaining = dir.until.since(now);
        let Dir { since, complete, .. } = dir;
        let changing = dir.our_change.is_some_and(|at| now.since(at) < LATELY);
        (!remaining.is_zero()).then_some(Unchanged { since, remaining, complete, changing })
    }

    /// This mount has just made the directory: it is empty.
    pub fn made(&self, attr: &Attr, asked: Moment, now: Moment) {
        self.begin(attr, asked, now, true);
    }

    /// A directory as the metaserver answered something asked at `asked`.
    pub fn saw(&self, attr: &Attr, asked: Moment, now: Moment) {
        let until = asked.after(self.validity);
        let known = self.dirs.with(&attr.inode, |dirs| {
            let dir = dirs.get_mut(&attr.inode)?;
            if dir.changed_at == attr.changed_at {
                dir.until = dir.until.max(until);
            }
            // An older answer says nothing.
            Some(dir.changed_at >= attr.changed_at)
        });
        if known != Some(true) {
            self.begin(attr, asked, now, false);
        }
    }

    /// A change of this mount, sent at `asked`. The names are to be entered first.
    pub fn changed(&self, dir: &ChangedDir, asked: Moment) {
        let ChangedDir { attr, before } = dir;
        let until = asked.after(self.validity);
        let follows = self.dirs.with(&attr.inode, |dirs| {
            // A question may have been answered with this change before the change was.
            let follows = |known: &&mut Dir| known.changed_at == *before || known.changed_at == attr.changed_at;
            let known = dirs.get_mut(&attr.inode).filter(follows)?;
            (known.changed_at, known.until) = (attr.changed_at, known.until.max(until));
            known.our_change = Some(asked);
            Some(())
        });
        if follows.is_none() {
            self.dirs.remove(&attr.inode);
        }
    }

    /// Not every name is known any more.
    pub fn lost_a_name(&self, inode: InodeId) {
        self.dirs.with(&inode, |dirs| {
            if let Some(dir) = dirs.peek_mut(&inode) {
                dir.complete = false;
            }
        });
    }

    /// Nothing is known any more.
    pub fn forget(&self, inode: InodeId) {
        self.dirs.remove(&inode);
    }

    pub fn clear(&self) {
        self.dirs.clear();
    }

    fn begin(&self, attr: &Attr, asked: Moment, now: Moment, complete: bool) {
        let until = asked.after(self.validity);
        let dir = Dir { changed_at: attr.changed_at, since: now, until, complete, our_change: None };
        self.dirs.put(attr.inode, dir);
    }
}
