//! Changing and showing what others have leases on: asking them, and waiting for them.
//!
//! As with recalls, a call waits for a while only; its client asks again, until the holder has answered or has lost its session.

use cairn_proto::attr::FileKind;
use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::meta::{Granted, Lease};
use tokio::time::{Instant, timeout_at};

use super::Clients;
use super::leases::touched::Touched;
use super::leases::{Announced, Announcement, InTheWay, Share};
use super::recalls::{LOOK_AGAIN, Patience};
use crate::namespace::inode::Inode;
use crate::namespace::query::{self, Viewer};

impl Clients {
    /// Announces that `session` is about to change something, and waits until nobody else remembers it. `Leased` where that takes too
    /// long.
    ///
    /// Where nobody does, it returns without waiting.
    pub async fn changing(
        &self,
        session: SessionId,
        touched: Touched,
        patience: &mut Patience,
    ) -> Result<Announcement, FsError> {
        let announcement = self.leases.announce(session, touched, Announced::Change);
        self.forgotten(&announcement, patience).await?;
        Ok(announcement)
    }

    /// Waits until nobody else remembers what was announced.
    async fn forgotten(&self, announcement: &Announcement, patience: &mut Patience) -> Result<(), FsError> {
        let in_the_way = announcement.in_the_way();
        if in_the_way.clear {
            return Ok(());
        }
        let named = announcement.touched().inodes().next().unwrap_or(InodeId::ROOT);
        self.cleared(in_the_way, named, patience, || announcement.in_the_way()).await
    }

    /// Waits until whoever wrote to a file has sent that; all but `session`, where it is asked for one.
    pub async fn sent_for_others(
        &self,
        session: Option<SessionId>,
        inode: InodeId,
        patience: &mut Patience,
    ) -> Result<(), FsError> {
        let look = || self.leases.to_see(session, inode);
        self.cleared(look(), inode, patience, look).await
    }

    /// Has whoever wrote to a file send its bytes, as far as that is done in a short time.
    pub async fn flush_file(&self, inode: InodeId) {
        let whole = async || {
            // Who has the directory for himself needs no lease to write to what is in it.
            let found = self.state.read(|read| query::get_inode(read, inode))?;
            if !found.is_directory() {
                self.state.read(|read| Viewer::new(read, SessionId::SERVERS).get_inode(inode))?;
            }
            self.sent_for_others(None, inode, &mut Patience::default()).await
        };
        if let Err(error) = self.recalling(whole).await {
            tracing::debug!(%inode, %error, "not all that was written to a file is sent: its size may be an old one");
        }
    }

    /// As [`Self::recalling`], for `session`, which has its turn before those who come later to have a file for themselves.
    pub async fn looking<T, F>(&self, session: SessionId, ask: impl FnMut() -> F) -> Result<T, FsError>
    where
        F: Future<Output = Result<T, FsError>>,
    {
        self.recalling_within(Some(session), Patience::default(), ask).await
    }

    /// While it lives, nobody who comes later has the file for itself before `session` has had a look.
    pub(super) fn turn_to_look(&self, session: SessionId, inode: InodeId) -> Announcement {
        self.leases.announce(session, Touched::only(inode), Announced::Look)
    }

    /// Asks those in the way, again and again, until nobody is.
    async fn cleared(
        &self,
        mut in_the_way: InTheWay,
        named: InodeId,
        patience: &mut Patience,
        look: impl Fn() -> InTheWay,
    ) -> Result<(), FsError> {
        let mut ended = self.leases.ended();
        loop {
            for (holder, event) in std::mem::take(&mut in_the_way.ask) {
                self.ask(holder, event);
            }
            if in_the_way.clear {
                return Ok(());
            }
            let deadline = patience.end();
            let again = deadline.min(Instant::now() + LOOK_AGAIN);
            // Something may have ended between the look and the subscription; then this look finds it.
            in_the_way = look();
            if in_the_way.clear || !in_the_way.ask.is_empty() {
                continue;
            }
            let _ = self.unless_stopping(timeout_at(again, ended.changed())).await?;
            if Instant::now() >= deadline {
                return Err(FsError::Leased(named));
            }
            in_the_way = look();
        }
    }

    /// An exclusive lease on a file for `session`, and the file as it is then.
    pub async fn acquire(&self, session: SessionId, inode: InodeId) -> Result<Inode, FsError> {
        self.heard(session)?;
        let mut patience = Patience::default();
        let announcement = self.leases.announce(session, Touched::only(inode), Announced::Acquisition);
        loop {
            let mut ended = self.leases.ended();
            self.forgotten(&announcement, &mut patience).await?;
            // Before it is looked at, as nobody changes it from then on.
            if announcement.acquire(inode) {
                return self.state.read(|read| Viewer::new(read, session).get_inode(inode));
            }
            let deadline = patience.end();
            let again = deadline.min(Instant::now() + LOOK_AGAIN);
            let _ = self.unless_stopping(timeout_at(again, ended.changed())).await?;
            if Instant::now() >= deadline {
                return Err(FsError::Leased(inode));
            }
        }
    }

    /// Grants a shared lease on an inode, if that can be; `Leased` where somebody else may know better.
    pub fn share(&self, session: SessionId, inode: &Inode) -> Result<bool, FsError> {
        let home = (!inode.is_directory()).then_some(inode.home.parent);
        match self.leases.share(session, inode.id, home, inode.kind() == FileKind::File) {
            Share::Granted => Ok(true),
            Share::Refused => Ok(false),
            Share::Unwritten => Err(FsError::Leased(inode.id)),
        }
    }

    /// An inode as a session may see it, with a lease if there is one to be had.
    pub fn show(&self, session: SessionId, inode: InodeId) -> Result<Granted<Inode>, FsError> {
        let look = || self.state.read(|read| Viewer::new(read, session).get_inode(inode));
        let leased = self.share(session, &look()?)?;
        // Again: only what is looked at under the lease is sure to stay.
        Ok(Granted { value: look()?, leased })
    }

    /// What a session has of an inode after it was opened, or made.
    pub fn lease(&self, session: SessionId, inode: InodeId) -> Lease {
        self.leases.of(session, inode)
    }
}
