//! Getting leases on the contents of files, and giving leases back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::ids::InodeId;
use cairn_proto::meta::{Granted, Lease, MAX_LEASES_PER_CALL};
use futures::{FutureExt, StreamExt};

use super::Vfs;
use super::error::VfsError;
use crate::cache::Asked;
use crate::io::{FileIo, Reading, Writing};
use crate::meta::MetaError;

/// Before asking again for a lease on what is being changed at this moment.
const PAUSE: Duration = Duration::from_millis(1);
/// Between two attempts to tell the metaserver what others wait for.
const INSIST_EVERY: Duration = Duration::from_millis(500);
/// Leases that are given back at a time.
const AT_A_TIME: usize = 64;
/// Between two looks at what is not needed any more, and at whether leases are to be relied on.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How a write gets its turn.
#[derive(Debug)]
pub(super) enum Turn<'a> {
    /// It may stay in the buffer.
    Lease(#[expect(dead_code, reason = "for how long it lives")] Writing<'a>),
    /// The lease is ending, which waits for the write: it is to be sent before it returns.
    AtOnce(#[expect(dead_code, reason = "for how long it lives")] Reading<'a>),
    /// Of pages that were stored to through a mapping.
    Pages,
}

/// What came of asking for a lease.
#[derive(Debug)]
enum Asking<T> {
    HasTurn(T),
    /// There is a lease, or was one a moment ago.
    LookAgain,
    /// Others are changing the file.
    NotNow,
}

impl Vfs {
    /// To be taken before something is asked for whose answer others may remember: see [`Self::is_current`].
    pub fn asked(&self) -> Asked {
        self.known.asked()
    }

    /// Whether no lease on `inode` has ended since.
    pub fn is_current(&self, inode: InodeId, asked: Asked) -> bool {
        self.known.is_current(inode, asked)
    }

    /// Waits until what this mount remembers of a file is right, and stays so while the result lives.
    pub(super) async fn reading<'a>(&self, io: &'a FileIo) -> Result<Reading<'a>, VfsError> {
        loop {
            if let Some(reading) = self.try_reading(io) {
                return Ok(reading);
            }
            match self.lease_to_read(io).await? {
                Asking::HasTurn(reading) => return Ok(reading),
                Asking::LookAgain => {}
                Asking::NotNow => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The same, where that needs no waiting.
    pub(super) fn try_reading<'a>(&self, io: &'a FileIo) -> Option<Reading<'a>> {
        if self.known.is_alive() { io.access().begin_read() } else { None }
    }

    /// As [`Self::writing`], for a write that may hold pages of the kernel's locked.
    pub(super) async fn writing_pages<'a>(&self, io: &'a FileIo) -> Result<Turn<'a>, VfsError> {
        loop {
            tokio::select! {
                biased;
                writing = self.writing(io) => return Ok(Turn::Lease(writing?)),
                () = self.endings.of(io.inode()) => {}
            }
            // The kernel keeps what is written, so its pages have to be dropped after that, as after a read.
            if let Some(turn) = self.endings.during(io.inode(), || io.access().begin_last_read()) {
                return Ok(Turn::AtOnce(turn));
            }
        }
    }

    /// Waits until nobody else looks at a file, or changes it, while the result lives.
    pub(super) async fn writing<'a>(&self, io: &'a FileIo) -> Result<Writing<'a>, VfsError> {
        loop {
            if self.known.is_alive()
                && let Some(writing) = io.access().begin_write()
            {
                return Ok(writing);
            }
            if let Asking::HasTurn(writing) = self.lease_to_write(io).await? {
                return Ok(writing);
            }
        }
    }

    async fn lease_to_read<'a>(&self, io: &'a FileIo) -> Result<Asking<Reading<'a>>, VfsError> {
        let inode = io.inode();
        if self.is_granted_here(io) {
            return Ok(Asking::LookAgain);
        }
        if let Some(attr) = self.known.attr(inode) {
            io.seen(&attr);
            io.access().grant(Lease::Shared, || self.known.is_leased(inode));
            if io.access().lease() >= Lease::Shared {
                return Ok(Asking::LookAgain);
            }
        }
        self.delegations.settle(&[inode]).await?;
        let asked = self.known.asked();
        let Granted { value: attr, leased } = self.meta.get_attr(inode).await?;
        io.seen(&attr);
        self.saw(attr, leased, asked);
        let is_current = || self.known.is_current(inode, asked);
        let is_right = || leased && self.known.is_alive() && is_current();
        if let Some(reading) = io.access().grant_to_read(Lease::Shared, is_right) {
            return Ok(Asking::HasTurn(reading));
        }
        // Asked while the lease ends: it does not end before this.
        let last = is_current().then(|| self.endings.during(inode, || io.access().begin_last_read())).flatten();
        Ok(match last {
            Some(reading) => Asking::HasTurn(reading),
            None if leased => Asking::LookAgain,
            None => Asking::NotNow,
        })
    }

    async fn lease_to_write<'a>(&self, io: &'a FileIo) -> Result<Asking<Writing<'a>>, VfsError> {
        let inode = io.inode();
        if self.is_granted_here(io) {
            return Ok(Asking::LookAgain);
        }
        self.delegations.settle(&[inode]).await?;
        let asked = self.known.asked();
        let attr = self.meta.acquire(inode).await?;
        io.seen(&attr);
        self.saw(attr, true, asked);
        let is_right = || self.known.is_alive() && self.known.is_current(inode, asked);
        Ok(io.access().grant_to_write(is_right).map_or(Asking::LookAgain, Asking::HasTurn))
    }

    /// Nobody else gets at a file in a directory that is this mount's.
    fn is_granted_here(&self, io: &FileIo) -> bool {
        let inode = io.inode();
        io.access().grant(Lease::Exclusive, || self.delegations.is_ours(inode));
        self.known.is_alive() && io.access().lease() == Lease::Exclusive
    }

    /// Leases that others want end: what was written is sent, and what is remembered, here and in the kernel, is forgotten.
    pub(super) async fn drop_leases(&self, inodes: Vec<InodeId>) {
        // First: whoever is about to let the kernel remember a name looks again whether that is still right.
        for &inode in &inodes {
            self.known.drop_lease(inode);
        }
        let forgets_names = self.kernel_names.take(inodes.iter().copied());
        if forgets_names && let Some(kernel) = self.kernel.get() {
            kernel.forget_names();
        }
        let drops = inodes.into_iter().map(|inode| self.drop_lease(inode));
        futures::stream::iter(drops).buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
        self.names_forgotten().await;
    }

    async fn drop_lease(&self, inode: InodeId) {
        // Once more if something was read when it was as good as over.
        while !self.try_drop_lease(inode).await {}
    }

    async fn try_drop_lease(&self, inode: InodeId) -> bool {
        let ending = self.endings.begin(inode);
        if let Some(io) = self.io.find(inode) {
            send_written(&io).await;
        }
        // Answers that are on their way count no more from here on.
        self.known.drop_lease(inode);
        self.known.contents.forget(inode);
        if let Err(error) = self.hold_dirs(inode).await {
            tracing::debug!(%inode, %error, "a directory that is open may be removed by others: what is shown of it then is what was seen last");
        }
        // It may be opened, and read, meanwhile.
        self.drop_pages(inode).await;
        if let Some(io) = self.io.find(inode) {
            self.drop_contents(&io).await;
        }
        drop(ending);
        self.io.find(inode).is_none_or(|io| io.access().is_over())
    }

    /// The kernel's pages go, as often as it takes until nothing is read in between; then what is cached here.
    async fn drop_contents(&self, io: &FileIo) {
        loop {
            let reads = io.access().reads();
            self.drop_pages(io.inode()).await;
            if io.access().end(reads) {
                break;
            }
            io.access().someone_done().await;
        }
        io.forget_cached();
    }

    /// A file that may be this mount's alone, by the directory that names it, is about to get a name that is not.
    pub(super) async fn no_longer_ours(&self, inode: InodeId) {
        if self.io.find(inode).is_some_and(|io| io.access().lease() > Lease::None) {
            self.drop_leases(vec![inode]).await;
        }
    }

    /// Others want to see what was written. What is remembered stays right.
    pub(super) async fn downgrade(&self, inode: InodeId) {
        // An exclusive lease whose answer is on its way is one that others have been let in to, meanwhile.
        self.known.no_longer_exclusive(inode);
        if let Some(io) = self.io.find(inode) {
            send_written(&io).await;
            io.access().downgraded();
        }
    }

    /// After a restart of the metaserver, which knows of no leases: keeps those on what is open, and drops all others. Other mounts wait for
    /// this before they read or change anything, so it waits for nothing that may wait for them: no read or write of this mount, and none of
    /// the kernel's pages.
    pub(super) async fn reclaim_leases(self: Arc<Self>, incarnation: u64) -> Result<(), MetaError> {
        // First: from here on answers of the earlier one grant nothing.
        let mut known = self.doubt_all();
        let all: Vec<InodeId> = known.iter().copied().collect();
        // Before it is seen what is open: what is opened after that shows nothing old.
        self.old_pages.add(all.iter().copied());
        let mut kept: Vec<(InodeId, Lease)> = self.io.files().iter().filter_map(|io| kept(io, &mut known)).collect();
        // Nobody removes one of these without a word.
        kept.extend(self.dirs.inodes().into_iter().filter(|dir| known.remove(dir)).map(|dir| (dir, Lease::Shared)));
        self.old_pages.remove(all.into_iter().filter(|inode| !known.contains(inode)));
        insist(|| self.meta.reclaim_leases(incarnation, &kept)).await?;
        tracing::info!(
            kept = kept.len(),
            dropped = known.len(),
            "the metaserver has restarted: leases on what is open are kept, all others dropped"
        );
        for &inode in &known {
            self.known.contents.forget(inode);
            if let Some(kernel) = self.kernel.get() {
                kernel.forget_attrs(inode);
            }
        }
        self.names_forgotten().await;
        let me = self.clone();
        tokio::spawn(async move { me.drop_old_pages(known).await });
        insist(|| self.meta.dropped_the_rest(incarnation)).await
    }

    async fn drop_old_pages(&self, inodes: HashSet<InodeId>) {
        let drops = inodes.into_iter().map(|inode| self.drop_pages(inode).map(move |()| inode));
        let drops = futures::stream::iter(drops).buffer_unordered(AT_A_TIME);
        drops.for_each(async |inode| self.old_pages.remove([inode])).await;
    }

    /// All leases end.
    pub(super) async fn drop_all(&self) {
        let mut known = self.doubt_all();
        known.extend(self.io.files().iter().map(|io| io.inode()));
        self.drop_each(known).await;
    }

    /// Nothing that is remembered here is believed any more. Answers what there were leases on.
    fn doubt_all(&self) -> HashSet<InodeId> {
        let known = self.known.drop_all().into_iter().collect();
        if self.kernel_names.take_all()
            && let Some(kernel) = self.kernel.get()
        {
            kernel.forget_names();
        }
        known
    }

    async fn drop_each(&self, inodes: HashSet<InodeId>) {
        let drops = inodes.into_iter().map(|inode| self.drop_lease(inode));
        futures::stream::iter(drops).buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
        self.names_forgotten().await;
    }

    /// The session is gone. What was written in it and not sent is lost: others may have written since. Then this mount works on.
    pub(super) async fn session_lost(&self) {
        let session = self.meta.term().session();
        self.fence_lost_locks(session);
        let mut lost = self.abandon_written();
        // From here on bytes are sent and looked for in the new session, which those wait for who are in the midst of something.
        self.meta.term().writes_in(session);
        for io in self.io.files() {
            let _ending = self.endings.begin(io.inode());
            io.access().end_writes().await;
        }
        lost += self.abandon_written();
        if lost > 0 {
            tracing::error!(
                files = lost,
                "what was written to these files and not sent is lost, and their programs are told (EIO): the metaserver had given this mount up"
            );
        }
        self.drop_all().await;
    }

    /// What was written and not sent is not sent any more. Answers to how many files.
    fn abandon_written(&self) -> usize {
        let files = self.io.files().into_iter().filter(|io| io.is_dirty());
        files.inspect(|io| io.abandon()).count()
    }

    /// Looks after leases for as long as it is polled: gives back those that nobody needs, and forgets what they covered when the metaserver
    /// cannot be reached for so long that it may give them to others.
    pub(super) async fn look_after_leases(&self) {
        let mut was_alive = true;
        loop {
            tokio::time::sleep(LOOK_EVERY.min(self.known.validity().max(PAUSE))).await;
            let is_alive = self.known.is_alive();
            if was_alive && !is_alive {
                tracing::warn!(
                    "the metaserver has been out of reach for a session's term: nothing is believed any more"
                );
                self.expired().await;
            }
            was_alive = is_alive;
            let spare = self.known.take_spare(MAX_LEASES_PER_CALL);
            if is_alive
                && !spare.is_empty()
                && let Err(error) = self.meta.return_leases(&spare).await
            {
                tracing::debug!(%error, "leases were not given back");
            }
        }
    }

    /// Leases may have gone to others. What was written and not sent is kept, to be sent if they have not.
    async fn expired(&self) {
        let mut known: HashSet<InodeId> = self.known.drop_all().into_iter().collect();
        // Attributes and names the kernel drops by itself: it was told for how long they are right.
        for io in self.io.files() {
            let was_known = known.remove(&io.inode());
            // There are no pages of it, and whoever is waiting to read some has none that could be dropped.
            if !was_known && io.access().granted() == Lease::None && io.access().is_over() {
                continue;
            }
            self.known.contents.forget(io.inode());
            let _ending = self.endings.begin(io.inode());
            io.access().end_writes().await;
            self.drop_contents(&io).await;
        }
        for inode in known {
            self.known.contents.forget(inode);
            drop(self.drop_pages(inode));
        }
    }

    async fn names_forgotten(&self) {
        if let Some(kernel) = self.kernel.get() {
            kernel.forgotten().await;
        }
    }
}

/// Calls until it is answered: others wait for that for as long as this session lives.
async fn insist<F>(call: impl Fn() -> F) -> Result<(), MetaError>
where
    F: Future<Output = Result<(), MetaError>>,
{
    loop {
        match call().await {
            Err(error) if error != MetaError::Stopping => {
                tracing::warn!(%error, "the metaserver has not been told of the leases that were kept; trying again");
                tokio::time::sleep(INSIST_EVERY).await;
            }
            told => return told,
        }
    }
}

/// The lease on an open file that this mount has, if it has one; takes it from those that are known.
fn kept(io: &FileIo, known: &mut HashSet<InodeId>) -> Option<(InodeId, Lease)> {
    let inode = io.inode();
    let known = if known.remove(&inode) { Lease::Shared } else { Lease::None };
    // What was written under a lease that could not be relied on any more is not sent yet, and nobody else was given the file.
    let unsent = if io.is_dirty() { Lease::Exclusive } else { Lease::None };
    // The kernel has pages of it that are being dropped.
    let read = if io.access().is_over() { Lease::None } else { Lease::Shared };
    let lease = io.access().granted().max(known).max(unsent).max(read);
    (lease > Lease::None).then_some((inode, lease))
}

/// No more writes; what was written is sent and committed. What cannot be is lost, and those who wrote it are told.
async fn send_written(io: &FileIo) {
    io.access().end_writes().await;
    io.looked_at();
    if io.is_dirty()
        && let Err(error) = io.flush().await
    {
        tracing::error!(inode = %io.inode(), %error, "what was written could not be sent for others to see");
    }
}
