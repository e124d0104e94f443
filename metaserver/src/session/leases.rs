//! Leases: what each session may remember of which inodes, and do with them, without asking.
//!
//! A **shared** lease says that nobody changes the inode (of a directory: nor its entries) before the session has forgotten what it
//! remembers of it. An **exclusive** one, of a file, that nobody looks at it before the session has sent and committed what it
//! wrote. Answers grant shared leases by themselves.
//!
//! Whoever is about to change an inode announces that first ([`Leases::announce`]). From then on until the change is over no other
//! session is granted a lease on it: answers are given, but may not be remembered. So a change has to wait for those leases only that
//! were there when it began. Changes do not keep each other waiting.
//!
//! In memory only. After a restart the sessions from before say what they have kept of their leases on open files, at once, and when
//! they have dropped all others, which may take as long as reads and writes that are under way. Until all have said the former, or are gone,
//! there may be unsent writes to any file; until all have said the latter, any inode may be remembered by any of them. Reads wait for the
//! former only: what a session has to drop may be waiting for a read.
//!
//! Delegations of directories ([`crate::namespace::delegation`]) stand above this: what is delegated to somebody else is refused
//! before leases are looked at, and there are no leases of others on it.

pub mod touched;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::meta::{Event, Lease, MAX_LEASES_PER_CALL};
use cairn_runtime::faults;
use parking_lot::Mutex;
use tokio::sync::watch;

use touched::Touched;

/// Leases that are asked back at a time, at most.
const MAX_ASKED_BACK: usize = 4 * MAX_LEASES_PER_CALL;

/// Otherwise nobody is asked to give a lease back, and what mounts remember goes stale: see [`faults::NO_RECALL`].
fn recalls() -> bool {
    !faults::is_on(faults::NO_RECALL)
}

/// The leases of all sessions.
#[derive(Debug)]
pub struct Leases {
    inner: Mutex<Inner>,
    /// Changes whenever a lease, or a change, has ended.
    ended: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    inodes: HashMap<InodeId, State>,
    held: HashMap<SessionId, HashSet<InodeId>>,
    /// All leases.
    count: usize,
    /// When there are nearly as many, some are asked back. Until they come, there may be a quarter more; beyond that answers are given, but may
    /// not be remembered, and whoever wants to read waits.
    limit: usize,
    /// Sessions from before a restart that have not said what they have kept.
    unnamed: HashSet<SessionId>,
    /// Sessions from before a restart that may have more than that.
    undropped: HashSet<SessionId>,
    next_ticket: u64,
}

/// Who has leases on an inode, and who is changing it, or waits for a look at it.
#[derive(Debug, Default)]
struct State {
    holders: Vec<Holder>,
    changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    session: SessionId,
    is_exclusive: bool,
    asked: Asked,
}

/// What a holder has been asked for, and has not done yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Nothing,
    ToShare,
    ToDrop,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    ticket: u64,
    session: SessionId,
    kind: Announced,
}

/// What is announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announced {
    /// A change of the namespace.
    Change,
    /// A session is to get an exclusive lease.
    Acquisition,
    /// A session is to see what others have written: who comes later for an exclusive lease waits for that, or those who write all the
    /// time would never let it have its turn.
    Look,
}

/// What came of asking for a shared lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    Granted,
    /// The answer is right, but not to be remembered.
    Refused,
    /// Somebody else may know better: what was written there has to be sent first.
    Unwritten,
}

/// While it lives, no other session is granted a lease on what is about to be changed.
#[derive(Debug)]
pub struct Announcement {
    leases: Arc<Leases>,
    ticket: u64,
    session: SessionId,
    touched: Touched,
}

/// Who has to be asked for what before something can go on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct InTheWay {
    /// To be sent; nobody has asked for these yet.
    pub ask: Vec<(SessionId, Event)>,
    /// There is nothing in the way.
    pub clear: bool,
}

impl Leases {
    /// `stored`: sessions from before a restart. `limit`: leases over all sessions, at most.
    pub fn new(stored: impl IntoIterator<Item = SessionId>, limit: usize) -> Self {
        let unnamed: HashSet<_> = stored.into_iter().collect();
        let undropped = unnamed.clone();
        let held = unnamed.iter().map(|&session| (session, HashSet::new())).collect();
        let inner = Inner { inodes: HashMap::new(), held, count: 0, limit, unnamed, undropped, next_ticket: 0 };
        Self { inner: Mutex::new(inner), ended: watch::Sender::new(()) }
    }

    pub fn admit(&self, session: SessionId) {
        self.inner.lock().held.entry(session).or_default();
    }

    /// The session ended: its leases are void.
    pub fn drop_session(&self, session: SessionId) {
        {
            let mut inner = self.inner.lock();
            inner.unnamed.remove(&session);
            inner.undropped.remove(&session);
            for inode in inner.held.remove(&session).unwrap_or_default() {
                inner.count -= 1;
                inner.with(inode, |state| state.holders.retain(|holder| holder.session != session));
            }
        }
        self.ended.send_replace(());
    }

    /// Told whenever something may have ended that is waited for.
    pub fn ended(&self) -> watch::Receiver<()> {
        self.ended.subscribe()
    }

    /// Asks for a shared lease on an inode before it is looked at. `home`: the directory that alone names it, which may be changing
    /// hands with all that is in it. `is_file`: there may be unsent writes.
    pub fn share(&self, session: SessionId, inode: InodeId, home: Option<InodeId>, is_file: bool) -> Share {
        let mut inner = self.inner.lock();
        if !recalls() {
            return inner.grant(session, inode, false);
        }
        if is_file && any_but(&inner.unnamed, session) {
            return Share::Unwritten;
        }
        let is_moving = |inner: &Inner, home: InodeId| {
            let changes = inner.inodes.get(&home).map(|state| state.changes.as_slice()).unwrap_or_default();
            changes.iter().any(|change| change.session != session && change.kind != Announced::Look)
        };
        let state = inner.inodes.get(&inode);
        if state.is_some_and(|state| state.others(session).any(|holder| holder.is_exclusive)) {
            return Share::Unwritten;
        }
        if state.is_some_and(|state| state.is_changing(session)) || home.is_some_and(|home| is_moving(&inner, home)) {
            return Share::Refused;
        }
        inner.grant(session, inode, false)
    }

    /// An inode that is about to be made, and so nobody else's.
    pub fn born(&self, session: SessionId, inode: InodeId, lease: Lease) {
        self.inner.lock().grant(session, inode, lease == Lease::Exclusive);
    }

    /// The session has something better, or it was not made after all.
    pub fn let_go(&self, session: SessionId, inode: InodeId) {
        self.inner.lock().forget(session, inode);
    }

    /// What `session` has of an inode, and was not asked to give back.
    pub fn of(&self, session: SessionId, inode: InodeId) -> Lease {
        match self.inner.lock().holder(session, inode) {
            Some(Holder { asked: Asked::ToDrop, .. }) | None => Lease::None,
            Some(Holder { is_exclusive: true, asked: Asked::Nothing, .. }) => Lease::Exclusive,
            Some(_) => Lease::Shared,
        }
    }

    /// Of these inodes, those on which others than `session` have leases.
    pub fn held_by_others(&self, session: SessionId, inodes: impl Iterator<Item = InodeId>) -> Vec<InodeId> {
        let inner = self.inner.lock();
        let is_held =
            |inode: &InodeId| inner.inodes.get(inode).is_some_and(|state| state.others(session).next().is_some());
        inodes.filter(is_held).collect()
    }

    /// Whether others than `session` have any lease at all.
    pub fn others_have_any(&self, session: SessionId) -> bool {
        let inner = self.inner.lock();
        inner.count > inner.held.get(&session).map_or(0, HashSet::len) || any_but(&inner.undropped, session)
    }

    /// `session` is about to change what is `touched`.
    pub fn announce(self: &Arc<Self>, session: SessionId, touched: Touched, kind: Announced) -> Announcement {
        let mut inner = self.inner.lock();
        inner.next_ticket += 1;
        let ticket = inner.next_ticket;
        for inode in touched.inodes() {
            inner.inodes.entry(inode).or_default().changes.push(Change { ticket, session, kind });
        }
        Announcement { leases: self.clone(), ticket, session, touched }
    }

    /// The holder of unsent writes to a file is to send them, for others to see.
    pub fn to_see(&self, session: Option<SessionId>, inode: InodeId) -> InTheWay {
        let mut inner = self.inner.lock();
        let others = |one: SessionId| Some(one) != session;
        let mut found = InTheWay { ask: Vec::new(), clear: !inner.unnamed.iter().copied().any(others) };
        if let Some(state) = inner.inodes.get_mut(&inode) {
            for holder in state.holders.iter_mut().filter(|holder| others(holder.session) && holder.is_exclusive) {
                found.clear = false;
                if holder.asked == Asked::Nothing {
                    holder.asked = Asked::ToShare;
                    found.ask.push((holder.session, Event::Downgrade { inode }));
                }
            }
        }
        found
    }

    /// A session has done what it was asked for.
    pub fn acted(&self, session: SessionId, event: &Event) {
        {
            let mut inner = self.inner.lock();
            match event {
                Event::Drop { inodes } => inodes.iter().for_each(|&inode| inner.dropped(session, inode)),
                Event::Downgrade { inode } => inner.downgraded(session, *inode),
                Event::Recall { .. } | Event::Flush => return,
            }
        }
        self.ended.send_replace(());
    }

    /// An event could not be sent: whoever waits asks again.
    pub fn not_asked(&self, session: SessionId, event: &Event) {
        let mut inner = self.inner.lock();
        let inodes = match event {
            Event::Drop { inodes } => inodes.as_slice(),
            Event::Downgrade { inode } => std::slice::from_ref(inode),
            Event::Recall { .. } | Event::Flush => &[],
        };
        for &inode in inodes {
            if let Some(holder) = inner.holder_mut(session, inode) {
                holder.asked = Asked::Nothing;
            }
        }
    }

    /// A session has no use for its leases on these: it is to be asked to drop them.
    pub fn returned(&self, session: SessionId, inodes: &[InodeId]) -> Event {
        let mut inner = self.inner.lock();
        let mut asked = Vec::new();
        for &inode in inodes {
            if let Some(holder) = inner.holder_mut(session, inode)
                && holder.asked == Asked::Nothing
                && !holder.is_exclusive
            {
                holder.asked = Asked::ToDrop;
                asked.push(inode);
            }
        }
        Event::Drop { inodes: asked }
    }

    /// What a session has kept over a restart. Of one from which nothing is awaited that is not believed.
    pub fn reclaim(&self, session: SessionId, kept: &[(InodeId, Lease)], last: bool) {
        {
            let mut inner = self.inner.lock();
            if !inner.unnamed.contains(&session) {
                return;
            }
            for &(inode, lease) in kept.iter().filter(|(_, lease)| *lease > Lease::None) {
                inner.keep(session, inode, lease == Lease::Exclusive);
            }
            if last {
                inner.unnamed.remove(&session);
            }
        }
        if last {
            self.ended.send_replace(());
        }
    }

    /// A session that has said what it has kept has nothing else any more.
    pub fn dropped_the_rest(&self, session: SessionId) {
        {
            let mut inner = self.inner.lock();
            if inner.unnamed.contains(&session) || !inner.undropped.remove(&session) {
                return;
            }
        }
        self.ended.send_replace(());
    }

    /// Where there is not much room left: what whoever has most leases is to be asked to drop.
    pub fn to_make_room(&self) -> Vec<(SessionId, Event)> {
        let mut inner = self.inner.lock();
        let Inner { inodes, held, count, limit, .. } = &mut *inner;
        if *count <= *limit - *limit / 8 {
            return Vec::new();
        }
        let Some((&session, held)) = held.iter().max_by_key(|(_, held)| held.len()) else { return Vec::new() };
        let most = (*count - (*limit - *limit / 4)).min(MAX_ASKED_BACK);
        let mut asked = Vec::new();
        for &inode in held {
            let holders = inodes.get_mut(&inode).map(|state| state.holders.as_mut_slice()).unwrap_or_default();
            let of_session = holders.iter_mut().find(|holder| holder.session == session);
            if let Some(holder) = of_session.filter(|holder| holder.asked == Asked::Nothing) {
                holder.asked = Asked::ToDrop;
                asked.push(inode);
            }
            if asked.len() >= most {
                break;
            }
        }
        let event = |inodes: &[InodeId]| (session, Event::Drop { inodes: inodes.to_vec() });
        asked.chunks(MAX_LEASES_PER_CALL).map(event).collect()
    }

    /// All leases.
    pub fn len(&self) -> usize {
        self.inner.lock().count
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Announcement {
    /// What is in the way of the change.
    pub fn in_the_way(&self) -> InTheWay {
        if !recalls() {
            return InTheWay { ask: Vec::new(), clear: true };
        }
        let mut inner = self.leases.inner.lock();
        let mut found = InTheWay { ask: Vec::new(), clear: !any_but(&inner.undropped, self.session) };
        let mut drops: Vec<(SessionId, Vec<InodeId>)> = Vec::new();
        for inode in self.touched.inodes() {
            let Some(state) = inner.inodes.get_mut(&inode) else { continue };
            for holder in state.holders.iter_mut().filter(|holder| holder.session != self.session) {
                found.clear = false;
                if holder.asked == Asked::Nothing {
                    holder.asked = Asked::ToDrop;
                    match drops.iter_mut().find(|(session, _)| *session == holder.session) {
                        Some((_, inodes)) => inodes.push(inode),
                        None => drops.push((holder.session, vec![inode])),
                    }
                }
            }
        }
        found.ask.extend(drops.into_iter().map(|(session, inodes)| (session, Event::Drop { inodes })));
        found
    }

    /// Gives the session the exclusive lease that was announced, unless it is not its turn: others are changing the file, came
    /// earlier, or have a lease again.
    pub fn acquire(&self, inode: InodeId) -> bool {
        let mut inner = self.leases.inner.lock();
        let Some(state) = inner.inodes.get(&inode) else { return false };
        let is_before = |change: &Change| {
            change.session != self.session && (change.kind == Announced::Change || change.ticket < self.ticket)
        };
        if recalls() && (state.changes.iter().any(is_before) || state.others(self.session).next().is_some()) {
            return false;
        }
        inner.grant(self.session, inode, true) == Share::Granted
    }

    pub fn touched(&self) -> &Touched {
        &self.touched
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        {
            let mut inner = self.leases.inner.lock();
            for inode in self.touched.inodes() {
                inner.with(inode, |state| state.changes.retain(|change| change.ticket != self.ticket));
            }
        }
        self.leases.ended.send_replace(());
    }
}

impl Inner {
    /// Changes the state of an inode, and forgets it where that is empty.
    fn with(&mut self, inode: InodeId, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.inodes.get_mut(&inode) {
            change(state);
            if state.holders.is_empty() && state.changes.is_empty() {
                self.inodes.remove(&inode);
            }
        }
    }

    fn holder(&self, session: SessionId, inode: InodeId) -> Option<Holder> {
        self.inodes.get(&inode)?.holders.iter().find(|holder| holder.session == session).copied()
    }

    fn holder_mut(&mut self, session: SessionId, inode: InodeId) -> Option<&mut Holder> {
        self.inodes.get_mut(&inode)?.holders.iter_mut().find(|holder| holder.session == session)
    }

    fn grant(&mut self, session: SessionId, inode: InodeId, exclusive: bool) -> Share {
        if let Some(holder) = self.holder_mut(session, inode) {
            // What it is asked to drop it may drop after it has got this answer.
            if holder.asked == Asked::ToDrop {
                return Share::Refused;
            }
            // Likewise for an exclusive lease, which it is about to give up.
            if exclusive && holder.asked != Asked::Nothing {
                return Share::Refused;
            }
            holder.is_exclusive |= exclusive;
            return Share::Granted;
        }
        let is_full = self.count >= self.limit + self.limit / 4 && !exclusive;
        if is_full { Share::Refused } else { self.enter(session, inode, exclusive) }
    }

    /// A lease that a session has, whether there is room for it or not.
    fn keep(&mut self, session: SessionId, inode: InodeId, exclusive: bool) {
        match self.holder_mut(session, inode) {
            Some(holder) => holder.is_exclusive |= exclusive,
            None => drop(self.enter(session, inode, exclusive)),
        }
    }

    fn enter(&mut self, session: SessionId, inode: InodeId, exclusive: bool) -> Share {
        let Some(held) = self.held.get_mut(&session) else { return Share::Refused };
        held.insert(inode);
        self.count += 1;
        let holder = Holder { session, is_exclusive: exclusive, asked: Asked::Nothing };
        self.inodes.entry(inode).or_default().holders.push(holder);
        Share::Granted
    }

    fn dropped(&mut self, session: SessionId, inode: InodeId) {
        if self.holder(session, inode).is_some_and(|holder| holder.asked == Asked::ToDrop) {
            self.forget(session, inode);
        }
    }

    fn forget(&mut self, session: SessionId, inode: InodeId) {
        if self.held.get_mut(&session).is_some_and(|held| held.remove(&inode)) {
            self.count -= 1;
            self.with(inode, |state| state.holders.retain(|holder| holder.session != session));
        }
    }

    fn downgraded(&mut self, session: SessionId, inode: InodeId) {
        if let Some(holder) = self.holder_mut(session, inode)
            && holder.asked == Asked::ToShare
        {
            (holder.is_exclusive, holder.asked) = (false, Asked::Nothing);
        }
    }
}

impl State {
    /// Whether others are changing it, or are to have it for themselves and came earlier than `session` did to look.
    fn is_changing(&self, session: SessionId) -> bool {
        let looks = self.changes.iter().filter(|change| change.session == session && change.kind == Announced::Look);
        let looks_since = looks.map(|look| look.ticket).min();
        self.changes.iter().filter(|change| change.session != session).any(|change| match change.kind {
            Announced::Change => true,
            Announced::Acquisition => looks_since.is_none_or(|since| change.ticket < since),
            Announced::Look => false,
        })
    }

    fn others(&self, session: SessionId) -> impl Iterator<Item = &Holder> {
        self.holders.iter().filter(move |holder| holder.session != session)
    }
}

fn any_but(sessions: &HashSet<SessionId>, session: SessionId) -> bool {
    sessions.iter().any(|&one| one != session)
}

#[cfg(test)]
mod tests;
