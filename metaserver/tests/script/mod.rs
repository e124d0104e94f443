//! Random operations: steps with loose references, which are turned into commands when it is known what there is.

mod steps;

use std::collections::BTreeMap;

use cairn_metaserver::command::{Command, Decided, Internal, Origin, Placement};
use cairn_proto::attr::{Credentials, FileKind};
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, OpId, ServerId, SessionId};
use cairn_proto::meta::{ChunkExtent, ClientInfo, Mutation};
use cairn_proto::name::Name;
use cairn_proto::policy::{PolicyChange, Retention};
use cairn_proto::time::Timestamp;
use uuid::Uuid;

use crate::model::Model;
use steps::Place;
pub use steps::{Step, Turn, steps};

/// Sessions at a time, at most.
const MAX_SESSIONS: usize = 3;

/// Turns steps into commands, as a leader would.
pub struct Proposer {
    /// Every inode number ever given out.
    pub ever: Vec<InodeId>,
    /// Every chunk ever placed.
    chunks: Vec<(InodeId, ChunkIndex, ChunkHandle)>,
    /// Those that are open, and each one's last operation. Never empty.
    sessions: Vec<(SessionId, u64)>,
    next_session: SessionId,
}

/// A loose reference: turned into something that is there, or, now and then, is not.
#[derive(Clone, Copy, Debug)]
pub struct Pick(pub u8);

/// From here on a [`Pick`] is for something that may be of the wrong kind, or gone.
const WILD: u8 = 235;

pub fn name(n: u8) -> Name {
    Name::new([b'a' + n % 5]).expect("a letter is a name")
}

/// Mostly one that is there.
fn existing_name(model: &Model, parent: InodeId, n: u8) -> Name {
    let entries = model.nodes.get(&parent).map(|node| &node.entries).filter(|entries| n < WILD && !entries.is_empty());
    match entries {
        Some(entries) => entries.keys().nth(usize::from(n) % entries.len()).expect("it is below the length").clone(),
        None => name(n),
    }
}

pub fn server(n: u8) -> ServerId {
    ServerId(Uuid::from_u128(u128::from(n % 5) + 1))
}

fn members(set: u8) -> Vec<ServerId> {
    (0..=set % 3).map(|n| server(n + set / 3)).collect()
}

/// As decided by a client that has done `done` operations ahead, where one alone can decide it.
fn ahead(decided: Decided, done: u64, place: Place) -> Decided {
    let position = match place {
        Place::Next => done + 1,
        Place::Early => done + 2,
        Place::Again => done,
    };
    match decided {
        Decided::Nothing => Decided::Ahead { position, inode: None },
        Decided::Inode(inode) => Decided::Ahead { position, inode: Some(inode) },
        other => other,
    }
}

fn open_session(session: SessionId) -> Internal {
    let client = ClientInfo { host: "h".into(), mountpoint: "/m".into(), pid: 1, version: "1".into() };
    Internal::OpenSession { session, client }
}

impl Proposer {
    pub fn new() -> Self {
        let first = SessionId(1);
        let (sessions, next_session) = (vec![(first, 0)], SessionId(first.0 + 1));
        Self { ever: vec![InodeId::ROOT], chunks: Vec::new(), sessions, next_session }
    }

    /// The first session, which a world is begun with.
    pub fn first_session(&self) -> Internal {
        open_session(self.sessions[0].0)
    }

    /// The command for `turn` in the world of `model`.
    pub fn propose(&mut self, turn: &Turn, model: &Model, at: Timestamp) -> Command {
        let (mutation, decided) = match self.turn(&turn.step, model) {
            Ok(mutation) => mutation,
            Err(internal) => return Command::internal(at, internal),
        };
        let which = usize::from(turn.session) % self.sessions.len();
        let (session, seq) = &mut self.sessions[which];
        *seq += 1;
        let origin = Origin { op: OpId { session: *session, seq: *seq }, acked: seq.saturating_sub(3).max(1) };
        let decided = match turn.ahead {
            Some(place) => ahead(decided, model.ahead.get(session).copied().unwrap_or(0), place),
            None => decided,
        };
        Command::mutation(origin, at, mutation, decided)
    }

    /// A session is opened, or where there are enough, one is closed.
    fn come_or_go(&mut self, which: u8) -> Internal {
        if self.sessions.len() == MAX_SESSIONS {
            let (session, _) = self.sessions.remove(usize::from(which) % MAX_SESSIONS);
            return Internal::CloseSession { session };
        }
        let session = self.next_session;
        self.next_session = SessionId(session.0 + 1);
        self.sessions.push((session, 0));
        open_session(session)
    }

    fn turn(&mut self, step: &Step, model: &Model) -> Result<(Mutation, Decided), Internal> {
        let directory = |pick| self.pick(pick, model, |kind| kind == FileKind::Directory);
        let file = |pick| self.pick(pick, model, |kind| kind == FileKind::File);
        let any = |pick| self.pick(pick, model, |_| true);
        let plain = |mutation| Ok((mutation, Decided::Nothing));
        match step.clone() {
            Step::Create { parent, name: n, node, mode, umask, owner, exclusive } => {
                let owner = Credentials { uid: owner.into(), gid: u32::from(owner) + 100 };
                let (parent, name, mode, umask) = (directory(parent), name(n), mode.into(), umask.into());
                let id = InodeId(2 + self.ever.len() as u64);
                self.ever.push(id);
                let create = Mutation::Create { parent, name, node, mode, umask, owner, exclusive, open: false };
                Ok((create, Decided::Inode(id)))
            }
            Step::Link { inode, parent, name: n } => {
                plain(Mutation::Link { inode: any(inode), parent: directory(parent), name: name(n) })
            }
            Step::Unlink { parent, name: n } => {
                let parent = directory(parent);
                plain(Mutation::Unlink { parent, name: existing_name(model, parent, n) })
            }
            Step::Rmdir { parent, name: n } => {
                let parent = directory(parent);
                plain(Mutation::Rmdir { parent, name: existing_name(model, parent, n) })
            }
            Step::Rename { from, to, mode } => {
                let (parent, new_parent) = (directory(from.0), directory(to.0));
                let (name, new_name) = (existing_name(model, parent, from.1), name(to.1));
                plain(Mutation::Rename { parent, name, new_parent, new_name, mode })
            }
            Step::SetAttr { inode, set } => plain(Mutation::SetAttr { inode: any(inode), set }),
            Step::Truncate { inode, set } => plain(Mutation::SetAttr { inode: file(inode), set }),
            Step::TouchAtime { inode, atime } => plain(Mutation::TouchAtime { inode: any(inode), atime }),
            Step::SetXattr { inode, name, value, mode, clear_sgid } => {
                plain(Mutation::SetXattr { inode: any(inode), name, value, mode, clear_sgid })
            }
            Step::RemoveXattr { inode, name } => plain(Mutation::RemoveXattr { inode: any(inode), name }),
            Step::SetPolicy { inode, copies, durability } => {
                let change = PolicyChange { copies, durability, placement: None };
                plain(Mutation::SetPolicy { inode: any(inode), change })
            }
            Step::Allocate { inode, first, count, set, undecided } => {
                let inode = file(inode);
                let first = ChunkIndex(first.into());
                let indexes = first.0..first.0 + u32::from(count);
                let missing: Vec<_> = match model.nodes.get(&inode) {
                    Some(node) => indexes.map(ChunkIndex).filter(|index| !node.chunks.contains_key(index)).collect(),
                    None => Vec::new(),
                };
                let mut placements = Vec::new();
                for index in missing {
                    let handle = ChunkHandle(self.chunks.len() as u64 + 1);
                    self.chunks.push((inode, index, handle));
                    placements.push(Placement { index, handle, members: members(set) });
                }
                if undecided {
                    placements.pop();
                }
                let allocate = Mutation::AllocateChunks { inode, first, count: count.into() };
                Ok((allocate, Decided::Chunks(placements)))
            }
            Step::Commit { inode, size, mtime, extents, kill } => {
                let inode = file(inode);
                let extents = extents.iter().filter_map(|&(pick, length, allocated)| {
                    let (_, index, handle) = self.pick_chunk(pick, Some(inode))?;
                    Some(ChunkExtent { index, handle, length, allocated })
                });
                let extents = extents.collect();
                plain(Mutation::CommitWrite { inode, size, mtime, extents, kill_suid_sgid: kill })
            }
            Step::ClearTrim { chunk, from } => match self.pick_chunk(chunk, None) {
                Some((inode, index, handle)) => plain(Mutation::ClearTrim { inode, index, handle, trimmed_at: from }),
                None => Err(Internal::Reap { inodes: Vec::new() }),
            },
            Step::ReplaceFailed { chunk, version, failed, survivors, held } => match self.pick_chunk(chunk, None) {
                Some((inode, index, handle)) => {
                    let version = ChunkVersion(u32::from(version));
                    let failed = vec![server(failed)];
                    let survivors = members(survivors);
                    let decided = held.map_or(Decided::Survivors(survivors.clone()), |_| Decided::Anew(survivors));
                    let held = held.unwrap_or(0);
                    Ok((Mutation::ReplaceFailed { inode, index, handle, version, failed, held }, decided))
                }
                None => Err(Internal::Reap { inodes: Vec::new() }),
            },
            Step::SetMembers { chunk, expect, set } => match self.pick_chunk(chunk, None) {
                Some((_, _, handle)) => {
                    let expect = ChunkVersion(u32::from(expect));
                    Err(Internal::SetMembers { handle, expect, next: expect.next(), members: members(set) })
                }
                None => Err(Internal::Reap { inodes: Vec::new() }),
            },
            Step::Take { directory: pick, max_entries } => {
                plain(Mutation::TakeDelegation { inode: directory(pick), max_entries })
            }
            Step::Return { directory: pick } => plain(Mutation::ReturnDelegation { inode: directory(pick) }),
            Step::ComeOrGo { session } => Err(self.come_or_go(session)),
            Step::Reap { inode } => Err(Internal::Reap { inodes: vec![any(inode)] }),
            Step::ReapAll => Err(Internal::Reap { inodes: model.orphans().into_iter().collect() }),
            Step::SetRetention { directory: pick, seconds } => {
                Err(Internal::SetRetention { inode: directory(pick), retention: Retention(seconds) })
            }
            Step::Restore { removed, to } => {
                let inode = self.pick_removed(removed, model);
                let was = model.trash.get(&inode);
                let (parent, name) = match (to, was) {
                    (None, Some(was)) => (was.parent, was.name.clone()),
                    (to, _) => to.map_or((InodeId::ROOT, name(0)), |(parent, n)| (directory(parent), name(n))),
                };
                Err(Internal::Restore { inode, parent, name })
            }
            Step::DropTrash { removed, expired } => {
                Err(Internal::DropTrash { inodes: vec![self.pick_removed(removed, model)], expired })
            }
            Step::DropGarbage { chunk } => Err(Internal::DropGarbage {
                handles: self.pick_chunk(chunk, None).map(|chunk| chunk.2).into_iter().collect(),
            }),
        }
    }

    fn pick(&self, Pick(pick): Pick, model: &Model, fits: impl Fn(FileKind) -> bool) -> InodeId {
        let pick_of = |all: &[InodeId]| all.get(usize::from(pick) % all.len().max(1)).copied();
        let fitting: BTreeMap<_, _> = model.nodes.iter().filter(|(_, node)| fits(node.kind)).collect();
        let fitting: Vec<_> = fitting.into_keys().copied().collect();
        match pick {
            u8::MAX => Some(InodeId(1 << 40)),
            WILD.. => pick_of(&self.ever),
            _ => pick_of(&fitting),
        }
        .unwrap_or(InodeId::ROOT)
    }

    fn pick_removed(&self, Pick(pick): Pick, model: &Model) -> InodeId {
        let removed = model.trash.keys().nth(usize::from(pick) % model.trash.len().max(1)).copied();
        removed.filter(|_| pick < WILD).unwrap_or_else(|| self.pick(Pick(pick), model, |_| true))
    }

    fn pick_chunk(&self, Pick(pick): Pick, of: Option<InodeId>) -> Option<(InodeId, ChunkIndex, ChunkHandle)> {
        let fits = |chunk: &&(InodeId, ChunkIndex, ChunkHandle)| of.is_none_or(|inode| inode == chunk.0);
        let fitting: Vec<_> = self.chunks.iter().filter(fits).collect();
        // Late ones are more likely to be there still.
        fitting.iter().rev().nth(usize::from(pick) % fitting.len().clamp(1, 12)).map(|chunk| **chunk)
    }
}
