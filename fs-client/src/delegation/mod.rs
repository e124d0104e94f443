//! Directories that only this mount uses, and what it does in them by itself.
//!
//! A directory that is used again and again is asked for ([`wishes`]); delegated, all of it is known here ([`table`]), so lookups need no
//! question, and creating, renaming and removing in it, and changing attributes, is decided here ([`rules`]), noted ([`journal`]),
//! and sent in batches: when it is half a second old, when much has come together, when somebody calls `fsync` or `sync`, and
//! before anything is asked at the metaserver that could show the difference. When somebody else wants the directory the
//! metaserver recalls it: what was done is sent, what was written is written out, and it is returned ([`recall`]).
//!
//! What was done here and not yet sent is lost with this process, as what a local file system holds in memory is lost in a crash; a
//! metaserver that restarts meanwhile loses nothing of it. Everything is sent in the order in which it was done, and never done on top
//! of something that failed: see [`cairn_proto::meta::Ahead::position`].

mod io;
mod journal;
mod losses;
mod numbers;
mod opening;
mod recall;
mod rules;
mod send;
mod table;
mod take;
mod wishes;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use cairn_proto::attr::{Attr, SetAttr};
use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::meta::{Mutation, MutationReply, RenameMode};
use cairn_proto::name::Name;
use cairn_proto::policy::Policy;
use cairn_proto::time::Timestamp;
use cairn_runtime::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use losses::LossCursor;
pub use rules::Moved;
pub use table::Found;
pub use wishes::Use;

use self::journal::{Journal, MAX_QUEUED};
use self::losses::Losses;
use self::numbers::Numbers;
use self::send::OnItsWay;
use self::table::Table;
use self::wishes::Wishes;
use crate::cache::Moment;
use crate::meta::{MetaClient, MetaError, NewEntry};

/// What a create made.
#[derive(Clone, Debug)]
pub struct Created {
    pub attr: Attr,
    pub parent: Attr,
    pub policy: Policy,
}

/// The file system above.
#[async_trait]
pub trait Above: Send + Sync {
    /// The metaserver has answered something that was done here.
    fn answered(&self, mutation: &Mutation, reply: &MutationReply);
    /// Whether something was written to a new file, which so needs a chunk.
    fn wants_chunk(&self, file: InodeId) -> bool;
    /// A directory is about to be returned, and others may look at it and what it names, and change that, from then on: what programs have
    /// written must be where they find it.
    async fn returned(&self, dir: InodeId, named: Vec<InodeId>);
    /// The leases on these inodes end.
    async fn drop_leases(&self, inodes: Vec<InodeId>);
    /// Others want to see what was written to a file.
    async fn downgrade(&self, inode: InodeId);
    /// The metaserver is another `incarnation`, which knows of no leases and waits to be told which ones this mount has kept.
    async fn metaserver_restarted(self: Arc<Self>, incarnation: u64);
    /// Nothing that is remembered is to be believed; what was written stands.
    async fn distrust(&self);
    /// The session is gone, and with it all that was granted in it. What was not sent is lost.
    async fn lost(&self);
}

/// The delegations of one mount. See the module.
pub struct Delegations {
    me: Weak<Self>,
    meta: Arc<MetaClient>,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// Whether there is, or may soon be, any delegation: without one there is nothing to look up.
    active: AtomicBool,
    on_its_way: tokio::sync::Mutex<OnItsWay>,
    /// There is something to send.
    due: Notify,
    /// There is so much that it is to be sent now.
    urgent: Notify,
    above: OnceLock<Weak<dyn Above>>,
}

#[derive(Debug, Default)]
struct Inner {
    table: Table,
    journal: Journal,
    losses: Losses,
    numbers: Numbers,
    wishes: Wishes,
    /// The session that the delegations are with.
    session: Option<SessionId>,
    /// The session whose events are followed.
    followed: Option<SessionId>,
}

/// While it lives, nothing is done here to what the metaserver is being asked to change.
#[derive(Debug)]
pub struct Asking<'a> {
    delegations: &'a Delegations,
    inodes: Vec<InodeId>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut inner = self.delegations.inner.lock();
        for &inode in &self.inodes {
            inner.table.end_asking(inode);
        }
    }
}

impl Delegations {
    pub fn new(meta: Arc<MetaClient>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            meta,
            clock,
            inner: Mutex::default(),
            active: AtomicBool::new(false),
            on_its_way: tokio::sync::Mutex::default(),
            due: Notify::new(),
            urgent: Notify::new(),
            above: OnceLock::new(),
        })
    }

    /// Has `above` told what comes of it, from now on.
    pub fn attach(&self, above: Weak<dyn Above>) {
        // There is one file system.
        let _ = self.above.set(above);
    }

    fn above(&self) -> Option<Arc<dyn Above>> {
        self.above.get()?.upgrade()
    }

    fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Waits while too much is unsent. To be called before something is done here.
    pub async fn room(&self) -> Result<(), MetaError> {
        if self.is_active() && self.inner.lock().journal.len() >= MAX_QUEUED {
            self.flush().await?;
        }
        Ok(())
    }

    /// What a name leads to, where this mount knows by itself.
    pub fn find(&self, parent: InodeId, name: &Name) -> Option<Found> {
        self.usable()?.table.find(parent, name)
    }

    /// The attributes of an inode, where this mount answers for them.
    pub fn attr(&self, inode: InodeId) -> Option<Attr> {
        self.usable()?.table.attr(inode).cloned()
    }

    /// Whether nobody else looks at a file, or changes it, without a recall of the directory that it is in.
    pub fn is_ours(&self, file: InodeId) -> bool {
        self.usable().is_some_and(|inner| inner.table.is_alone_with(file))
    }

    /// Whether a file is one that this mount has made, of which the metaserver knows no byte, and that nobody else can look at without a
    /// recall.
    pub fn is_fresh(&self, file: InodeId) -> bool {
        self.usable().is_some_and(|inner| inner.table.is_fresh(file))
    }

    /// Whether what is removed from a directory that this mount holds is kept in the trash.
    pub fn keeps(&self, dir: InodeId) -> bool {
        self.usable().is_some_and(|inner| inner.table.keeps(dir))
    }

    /// `open(O_CREAT)`, `mkdir`, `mknod`, `symlink`. Here and below, `None`: the metaserver has to be asked.
    pub fn create(&self, new: &NewEntry) -> Option<Result<Created, FsError>> {
        let (created, wants_numbers, is_hasty) = {
            let mut inner = self.usable()?;
            let inner = &mut *inner;
            if let Err(refusal) = inner.table.may_create(new)? {
                return Some(Err(refusal));
            }
            let inode = inner.numbers.next();
            let created = inode.and_then(|inode| inner.create(new, inode));
            let is_hasty = created.is_some() && inner.table.is_hasty(new.parent);
            (created, inner.numbers.wants_more(), is_hasty)
        };
        if wants_numbers {
            self.ask_for_numbers();
        }
        self.noted();
        if is_hasty {
            self.urgent.notify_one();
        }
        created.map(Ok)
    }

    pub fn unlink(&self, parent: InodeId, name: &Name) -> Option<Result<Attr, FsError>> {
        let mutation = Mutation::Unlink { parent, name: name.clone() };
        self.remove(parent, mutation, |table, at| table.unlink(parent, name, at))
    }

    pub fn rmdir(&self, parent: InodeId, name: &Name) -> Option<Result<Attr, FsError>> {
        let mutation = Mutation::Rmdir { parent, name: name.clone() };
        self.remove(parent, mutation, |table, at| table.rmdir(parent, name, at))
    }

    fn remove(
        &self,
        parent: InodeId,
        mutation: Mutation,
        rule: impl FnOnce(&mut Table, Timestamp) -> rules::Ruling<(Attr, Attr)>,
    ) -> Option<Result<Attr, FsError>> {
        let mut inner = self.usable()?;
        let at = Timestamp::now();
        let removed = match rule(&mut inner.table, at)? {
            Ok((removed, _)) => removed,
            Err(refusal) => return Some(Err(refusal)),
        };
        inner.journal.push(mutation, at, None, vec![parent, removed.inode]);
        drop(inner);
        self.noted();
        Some(Ok(removed))
    }

    /// `None` inside: there was nothing to do.
    pub fn rename(
        &self,
        from: (InodeId, &Name),
        to: (InodeId, &Name),
        mode: RenameMode,
    ) -> Option<Result<Option<Moved>, FsError>> {
        let mut inner = self.usable()?;
        let at = Timestamp::now();
        let moved = match inner.table.rename(from, to, mode, at)? {
            Ok(Some(moved)) => moved,
            Ok(None) => return Some(Ok(None)),
            Err(refusal) => return Some(Err(refusal)),
        };
        let mutation =
            Mutation::Rename { parent: from.0, name: from.1.clone(), new_parent: to.0, new_name: to.1.clone(), mode };
        let mut touches = vec![from.0, moved.moved.inode];
        touches.extend((to.0 != from.0).then_some(to.0));
        touches.extend(moved.replaced.as_ref().map(|attr| attr.inode));
        inner.journal.push(mutation, at, None, touches);
        drop(inner);
        self.noted();
        Some(Ok(Some(moved)))
    }

    /// Everything but the size.
    pub fn set_attr(&self, inode: InodeId, set: &SetAttr) -> Option<Attr> {
        let mut inner = self.usable()?;
        let at = Timestamp::now();
        let (attr, home) = inner.table.set_attr(inode, set, at)?;
        // Its directory lists it.
        let mut touches = vec![inode];
        touches.extend((home != inode).then_some(home));
        inner.journal.push(Mutation::SetAttr { inode, set: set.clone() }, at, None, touches);
        drop(inner);
        self.noted();
        Some(attr)
    }

    /// For a file or directory that is opened: see [`Self::take_loss`].
    pub fn loss_cursor(&self, inode: InodeId) -> LossCursor {
        self.inner.lock().losses.cursor(inode)
    }

    /// Whether a change of `inode`, or of what it names, that was done here since `cursor` is lost. Answers so once.
    pub fn take_loss(&self, inode: InodeId, cursor: &mut LossCursor) -> bool {
        self.is_active() && self.inner.lock().losses.take(inode, cursor)
    }

    /// Times that changes were lost.
    pub fn losses(&self) -> u64 {
        self.inner.lock().losses.count()
    }

    /// Whether any change was lost, of which this has not answered so before.
    pub fn take_any_loss(&self) -> bool {
        self.inner.lock().losses.take_any()
    }

    /// Changes that the metaserver has not answered.
    pub fn unsent(&self) -> usize {
        if self.is_active() { self.inner.lock().journal.len() } else { 0 }
    }

    /// For deciding something here: while it is sure that nobody else may.
    fn usable(&self) -> Option<parking_lot::MutexGuard<'_, Inner>> {
        self.held().filter(|inner| inner.session.is_none_or(|session| self.meta.term().is_alive(session)))
    }

    /// For noting what has become of what is held here.
    fn held(&self) -> Option<parking_lot::MutexGuard<'_, Inner>> {
        self.is_active().then(|| self.inner.lock())
    }

    /// Something may be different from what the metaserver knows.
    fn noted(&self) {
        let len = self.inner.lock().journal.len();
        self.due.notify_one();
        if len >= send::BATCH {
            self.urgent.notify_one();
        }
    }

    /// Whether all that is in a directory is known here.
    pub fn holds(&self, dir: InodeId) -> bool {
        self.usable().is_some_and(|inner| inner.table.is_held(dir))
    }

    /// To be called before the metaserver is asked about `inodes`: it knows then what was done to them here.
    pub async fn settle(&self, inodes: &[InodeId]) -> Result<(), MetaError> {
        if self.is_active() {
            let pending = {
                let inner = self.inner.lock();
                inodes.iter().any(|&inode| inner.journal.is_pending(inode))
            };
            if pending {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// As [`Self::settle`], of a file that a program wants to be durable.
    pub async fn settle_durably(&self, file: InodeId) -> Result<(), MetaError> {
        if let Some(mut inner) = self.held()
            && inner.journal.is_pending(file)
        {
            inner.table.waited_for(file);
        }
        self.settle(&[file]).await
    }

    /// To be called before the metaserver is asked to change `inodes`, directories of names among them. The result lives for
    /// as long as it is asked.
    pub async fn ask(&self, inodes: &[InodeId]) -> Result<Asking<'_>, MetaError> {
        {
            let mut inner = self.inner.lock();
            for &inode in inodes {
                inner.table.begin_asking(inode);
            }
        }
        let asking = Asking { delegations: self, inodes: inodes.to_vec() };
        // All of it: a name may lead to something that was changed, a directory may be empty by now.
        if self.is_active() {
            self.flush().await?;
            self.register_opens(inodes).await;
        }
        Ok(asking)
    }

    /// The metaserver has made `name` lead to `attr`, at the wish of this mount.
    pub fn entered(&self, parent: InodeId, name: &Name, attr: &Attr) {
        if let Some(mut inner) = self.held() {
            inner.table.enter(parent, name.clone(), attr);
        }
    }

    /// The metaserver has removed `name`, at the wish of this mount.
    pub fn left(&self, parent: InodeId, name: &Name) {
        if let Some(mut inner) = self.held()
            && let Some(child) = inner.table.leave(parent, name)
        {
            inner.table.forget_node(child.inode);
        }
    }

    /// A directory is gone.
    pub fn buried(&self, dir: InodeId) {
        if let Some(mut inner) = self.held() {
            inner.table.remove(dir);
        }
    }

    /// Attributes that the metaserver has answered.
    pub fn learn(&self, attr: &Attr) {
        if let Some(mut inner) = self.held() {
            let pending = inner.journal.is_pending(attr.inode);
            inner.table.learn(attr, pending);
        }
    }

    /// Reading `inode` has changed its access time.
    pub fn touched(&self, inode: InodeId, atime: Timestamp) {
        if let Some(mut inner) = self.held()
            && let Some(attr) = inner.table.attr_mut(inode)
        {
            attr.atime = attr.atime.max(atime);
        }
    }

    /// Nobody knows what came of a change to `dir`: it is returned, and asked about from then on.
    pub fn doubt(&self, dir: InodeId) {
        if self.held().is_some_and(|inner| inner.table.knows(dir)) {
            self.give_back_in_background(vec![dir]);
        }
    }

    fn now(&self) -> Moment {
        Moment::now(&*self.clock)
    }
}

impl Inner {
    fn create(&mut self, new: &NewEntry, inode: InodeId) -> Option<Created> {
        let at = Timestamp::now();
        let (attr, parent, policy) = self.table.create(new, inode, at)?;
        let NewEntry { parent: dir, name, node, mode, umask, owner, exclusive: _, open: _ } = new.clone();
        // Whether it is open is looked up when this is sent.
        let mutation = Mutation::Create { parent: dir, name, node, mode, umask, owner, exclusive: true, open: false };
        self.journal.push(mutation, at, Some(inode), vec![dir, inode]);
        Some(Created { attr, parent, policy })
    }
}

impl fmt::Debug for Delegations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delegations").field("inner", &self.inner).finish_non_exhaustive()
    }
}
