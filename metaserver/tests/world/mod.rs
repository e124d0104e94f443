//! The namespace and its model side by side.

mod observe;

use cairn_metaserver::command::{Body, Command, Internal};
use cairn_metaserver::namespace::{Reply, apply};
use cairn_metaserver::store::{Keyspace, Store, Txn, WriteSet};
use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ClusterId, InodeId, LogIndex};
use cairn_proto::meta::{ChangedDir, Delegation, Mutation};
use cairn_proto::policy::{Durability, PlacementId, Policy};
use cairn_proto::time::Timestamp;
use uuid::Uuid;

use crate::listing::Listing;
use crate::model::Model;
use crate::script::{Proposer, Turn};
use observe::Observed;

pub struct World<S> {
    pub store: S,
    pub log: Vec<Command>,
    model: Model,
    proposer: Proposer,
    listing: Listing,
    observed: Observed,
}

const POLICY: Policy = Policy { copies: 2, durability: Durability::Fsync, placement: PlacementId::ANYWHERE };

/// No script uses so many numbers.
const RESERVED: InodeId = InodeId(1 << 20);

impl<S: Store> World<S> {
    pub fn new(store: S) -> Self {
        let at = Timestamp { secs: 0, nanos: 0 };
        let model = Model::new(0o755, 0, 0, POLICY, at);
        let mut world = Self {
            store,
            log: Vec::new(),
            listing: Listing::start(&model, InodeId::ROOT),
            model,
            proposer: Proposer::new(),
            observed: Observed::default(),
        };
        let cluster = ClusterId(Uuid::nil());
        for internal in [
            Internal::CreateCluster { cluster, mode: 0o755, uid: 0, gid: 0, policy: POLICY },
            world.proposer.first_session(),
            Internal::ReserveInodes { upto: RESERVED },
        ] {
            assert_eq!(world.commit(Command::internal(at, internal)), Ok(Reply::Done));
        }
        world.observed = Observed::new(&world.store, &world.proposer.ever);
        world
    }

    pub fn step(&mut self, turn: &Turn) {
        let at = Timestamp { secs: self.log.len() as i64, nanos: 7 };
        let command = self.proposer.propose(turn, &self.model, at);
        let in_the_way = self.model.in_the_way(&command);
        if let Some(refusal) = self.model.out_of_turn(&command) {
            assert_eq!(self.commit(command.clone()), Err(refusal), "{command:?}");
        } else if in_the_way.is_empty() {
            let expected = self.model.apply(&command);
            let answer = self.commit(command.clone());
            assert_eq!(answer.map(without_change), expected, "{command:?}");
        } else {
            match self.commit(command.clone()) {
                Err(FsError::Delegated(directory)) if in_the_way.contains(&directory) => {}
                other => panic!("{command:?} is answered {other:?}, with {in_the_way:?} delegated to others"),
            }
        }
        let before = self.observe();
        if let Body::Mutation {
            mutation: Mutation::TakeDelegation { .. } | Mutation::ReturnDelegation { .. }, ..
        } = command.body
        {
            assert_eq!(self.observed, before, "a delegation shows: {command:?}");
        }
        self.listing.changed(&self.model);
        if self.listing.go_on(&self.store) {
            let directories = self.model.nodes.iter().filter(|(_, node)| node.kind == FileKind::Directory);
            let biggest = directories.max_by_key(|(_, node)| node.entries.len()).map_or(InodeId::ROOT, |(&id, _)| id);
            self.listing = Listing::start(&self.model, biggest);
        }
    }

    /// Applies a command, and once more, as if it had been retried.
    fn commit(&mut self, command: Command) -> Result<Reply, FsError> {
        let (answer, writes) = self.apply(&command);
        if answer.is_err() {
            const LEDGER_AND_SESSIONS: [u8; 2] = [0x31, 0x30];
            let others = writes.iter().filter(|(key, _)| !LEDGER_AND_SESSIONS.contains(&key[0])).count();
            assert_eq!(others, 0, "a refused command wrote: {command:?}");
        }
        self.store.write(&writes).unwrap();
        let asked_again = answer.as_ref().is_err_and(FsError::is_transient);
        if command.origin.is_some() && !asked_again {
            let (again, writes) = self.apply(&command);
            assert_eq!(again, answer, "retried: {command:?}");
            assert!(writes.is_empty(), "a retry wrote: {command:?}");
        }
        self.log.push(command);
        answer
    }

    fn apply(&self, command: &Command) -> (Result<Reply, FsError>, WriteSet) {
        let decoded = Command::decode(&command.encode()).unwrap();
        let mut txn = Txn::new(&self.store);
        let answer = apply(&mut txn, LogIndex(self.log.len() as u64 + 1), &decoded).unwrap();
        (answer, txn.into_writes())
    }

    /// All that can be seen is as in the model, and changes of it show in `changed_at`.
    /// Answers how it was before.
    fn observe(&mut self) -> Observed {
        let observed = Observed::new(&self.store, &self.proposer.ever);
        observed.compare(&self.model, &self.store);
        observed.check_changes(&self.observed, LogIndex(self.log.len() as u64));
        std::mem::replace(&mut self.observed, observed)
    }
}

/// Applies a log, several commands at a time.
pub fn replay(log: &[Command], keyspace: &Keyspace, batch: usize) {
    let mut index = 0;
    for commands in log.chunks(batch) {
        let view = keyspace.view();
        let mut txn = Txn::new(&view);
        for command in commands {
            index += 1;
            apply(&mut txn, LogIndex(index), command).unwrap().ok();
        }
        let writes = txn.into_writes();
        drop(view);
        keyspace.commit(writes, index.to_be_bytes().to_vec().into()).unwrap();
    }
}

/// The model does not know of `changed_at`.
fn without_change(reply: Reply) -> Reply {
    let plain = |attr: Attr| Attr { changed_at: LogIndex(0), ..attr };
    let dir = |dir: ChangedDir| ChangedDir { attr: plain(dir.attr), before: LogIndex(0) };
    match reply {
        Reply::Attr(attr) => Reply::Attr(plain(attr)),
        Reply::Entry { attr, parent, created, policy } => {
            Reply::Entry { attr: plain(attr), parent: dir(parent), created, policy }
        }
        Reply::Removed { attr, parent } => Reply::Removed { attr: plain(attr), parent: dir(parent) },
        Reply::Renamed { moved, replaced, exchanged, old_parent, new_parent } => Reply::Renamed {
            moved: plain(moved),
            replaced: replaced.map(plain),
            exchanged: exchanged.map(plain),
            old_parent: dir(old_parent),
            new_parent: dir(new_parent),
        },
        Reply::Delegated(Some(delegation)) => {
            Reply::Delegated(Some(Delegation { attr: plain(delegation.attr), ..delegation }))
        }
        other => other,
    }
}
