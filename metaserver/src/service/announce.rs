//! What others remember is taken back before a mutation changes it.

use cairn_proto::error::FsError;
use cairn_proto::ids::{DirCookie, InodeId, SessionId};
use cairn_proto::meta::{Lease, MAX_DIR_PAGE, Mutation, MutationReply, ReadDir};

use super::Shared;
use crate::namespace::query;
use crate::session::leases::Announcement;
use crate::session::leases::touched::Touched;
use crate::session::recalls::Patience;

/// While it lives, nobody else remembers anything of what a mutation changes.
pub(super) struct Announced<'a> {
    shared: &'a Shared,
    session: SessionId,
    patience: Patience,
    announcements: Vec<Announcement>,
}

/// Announces what `mutation` changes, and waits until nobody else remembers it: without waiting, where nobody does.
pub(super) async fn announce<'a>(
    shared: &'a Shared,
    session: SessionId,
    mutation: &Mutation,
) -> Result<Announced<'a>, FsError> {
    let touched = shared.state.read(|read| Touched::by(read, mutation))?;
    let mut announced = Announced { shared, session, patience: Patience::default(), announcements: Vec::new() };
    announced.add(touched).await?;
    if let Mutation::TakeDelegation { inode, .. } = mutation {
        // Those of its files after itself: from then on nobody gets new leases on them.
        let files = shared.leased_in(*inode, session)?;
        announced.add(files).await?;
    }
    Ok(announced)
}

impl Announced<'_> {
    async fn add(&mut self, touched: Touched) -> Result<(), FsError> {
        if !touched.is_empty() {
            let clients = &self.shared.clients;
            self.announcements.push(clients.changing(self.session, touched, &mut self.patience).await?);
        }
        Ok(())
    }

    /// A name may have led to something else by the time that the mutation was done, and a directory may have got files that others
    /// write to by the time that it was delegated: nobody remembers those either when this returns.
    pub(super) async fn found_too(mut self, reply: &MutationReply) -> Result<(), FsError> {
        if let MutationReply::Delegated(Some(delegation)) = reply {
            // From here on others are told of nothing in it, whatever leases they are still granted.
            let files = self.shared.leased_in(delegation.attr.inode, self.session)?;
            return self.add(files).await;
        }
        let known = |inode: &InodeId| self.announcements.iter().any(|one| one.touched().contains(*inode));
        let changed = Touched::by_reply(reply);
        let unknown: Vec<_> = changed.inodes().filter(|inode| !known(inode)).collect();
        let mut missed = Touched::default();
        missed.extend(self.shared.clients.leases.held_by_others(self.session, unknown.into_iter()));
        self.add(missed).await
    }
}

impl Shared {
    /// What a directory names, as far as others than `session` have leases on it.
    fn leased_in(&self, inode: InodeId, session: SessionId) -> Result<Touched, FsError> {
        let leases = &self.clients.leases;
        let mut touched = Touched::default();
        let mut after = DirCookie::START;
        while leases.others_have_any(session) {
            let request = ReadDir { inode, after, limit: MAX_DIR_PAGE, plus: false };
            let page = self.state.read(|read| query::read_dir(read, request))?;
            touched.extend(leases.held_by_others(session, page.entries.iter().map(|entry| entry.inode)));
            match page.entries.last() {
                Some(last) if !page.end => after = last.cookie,
                _ => break,
            }
        }
        Ok(touched)
    }
}

/// An inode that is being made. Until it is shown to others it belongs to the one who makes it.
pub(super) struct Ours<'a> {
    shared: &'a Shared,
    session: SessionId,
    inode: InodeId,
}

pub(super) fn ours(shared: &Shared, session: SessionId, inode: InodeId, lease: Lease) -> Ours<'_> {
    shared.clients.leases.born(session, inode, lease);
    Ours { shared, session, inode }
}

impl Ours<'_> {
    /// It was made, or it was not. The reply says what the session has of it, or of what was there before.
    pub(super) fn told(self, mut result: Result<MutationReply, FsError>) -> Result<MutationReply, FsError> {
        let Self { shared, session, inode } = self;
        let leases = &shared.clients.leases;
        match &mut result {
            Ok(MutationReply::Entry { attr, created: true, lease, .. }) if attr.inode == inode => {
                *lease = leases.of(session, inode);
            }
            _ => leases.let_go(session, inode),
        }
        result
    }
}
