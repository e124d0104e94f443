//! Retries, late comers, and the bounds of the ledger.

use cairn_proto::ids::{InodeId, OpId, SessionId};
use cairn_proto::meta::Mutation;
use cairn_proto::policy::PolicyChange;
use cairn_proto::time::Timestamp;

use super::*;
use crate::command::{Command, Decided, Internal};
use crate::namespace::fixture::{SESSION, World};
use crate::store::Read;

fn set_copies(world: &mut World, session: SessionId, seq: u64, acked: u64, copies: u8) -> Result<Reply, FsError> {
    let change = PolicyChange { copies: Some(copies), ..PolicyChange::default() };
    let mutation = Mutation::SetPolicy { inode: InodeId::ROOT, change };
    let origin = Origin { op: OpId { session, seq }, acked };
    world.apply(&Command::mutation(origin, Timestamp::default(), mutation, Decided::Nothing))
}

fn results(world: &World) -> usize {
    let range = keys::ledger_of(SESSION);
    world.store.scan_page(&range.start, &range.end, usize::MAX).unwrap().len()
}

fn copies(reply: Result<Reply, FsError>) -> u8 {
    match reply {
        Ok(Reply::Policy(policy)) => policy.copies,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_retry_is_answered_and_not_done_again() {
    let mut world = World::new();
    assert_eq!(copies(set_copies(&mut world, SESSION, 1, 1, 3)), 3);
    assert_eq!(copies(set_copies(&mut world, SESSION, 2, 1, 4)), 4);
    // The retry asks for something else, so that it shows that nothing was done.
    assert_eq!(copies(set_copies(&mut world, SESSION, 1, 1, 9)), 3);
    assert_eq!(set_copies(&mut world, SESSION, 3, 1, 0), Err(FsError::InvalidArgument));
    assert_eq!(set_copies(&mut world, SESSION, 3, 1, 1), Err(FsError::InvalidArgument));
    assert_eq!(copies(set_copies(&mut world, SESSION, 4, 4, 5)), 5);
}

#[test]
fn acknowledged_results_are_dropped_together() {
    let mut world = World::new();
    for seq in 1..=10 * PRUNE_BATCH_OPS {
        set_copies(&mut world, SESSION, seq, seq, 1).unwrap();
        assert!(results(&world) as u64 <= PRUNE_BATCH_OPS + 1);
    }
    assert!(results(&world) > 0);
}

#[test]
fn what_comes_late_is_not_done() {
    let mut world = World::new();
    let last = 3 * PRUNE_BATCH_OPS;
    for seq in 1..=last {
        set_copies(&mut world, SESSION, seq, seq, 2).unwrap();
    }
    // A first attempt, stuck in a connection that was given up, with what was acknowledged then.
    for seq in [1, PRUNE_BATCH_OPS, last - 1, last] {
        match set_copies(&mut world, SESSION, seq, seq, 9) {
            Ok(Reply::Policy(policy)) => assert_eq!(policy.copies, 2, "{seq}"),
            other => assert_eq!(other, Err(FsError::InvalidArgument), "{seq}"),
        }
    }
    assert_eq!(copies(set_copies(&mut world, SESSION, last + 1, last, 3)), 3);
}

#[test]
fn unacknowledged_results_are_bounded() {
    let mut world = World::new();
    assert_eq!(copies(set_copies(&mut world, SESSION, LEDGER_WINDOW_OPS, 1, 3)), 3);
    assert_eq!(set_copies(&mut world, SESSION, LEDGER_WINDOW_OPS + 1, 1, 4), Err(FsError::InvalidArgument));
    assert_eq!(copies(set_copies(&mut world, SESSION, LEDGER_WINDOW_OPS + 1, 2, 4)), 4);
    assert_eq!(set_copies(&mut world, SESSION, u64::MAX, 1, 4), Err(FsError::InvalidArgument));
}

#[test]
fn closing_forgets() {
    let mut world = World::new();
    let other = SessionId(2);
    assert_eq!(set_copies(&mut world, other, 1, 1, 3), Err(FsError::SessionUnknown(other)));
    set_copies(&mut world, SESSION, 1, 1, 3).unwrap();
    world.internal(Internal::CloseSession { session: SESSION }).unwrap();
    assert_eq!(results(&world), 0);
    assert_eq!(set_copies(&mut world, SESSION, 2, 1, 3), Err(FsError::SessionUnknown(SESSION)));
    let again = world.internal(Internal::CloseSession { session: SESSION });
    assert_eq!(again, Err(FsError::SessionUnknown(SESSION)));
}

#[test]
fn what_is_to_be_asked_again_is_not_kept() {
    let mut world = World::new();
    let create = Mutation::Create {
        parent: InodeId::ROOT,
        name: cairn_proto::name::Name::new("n").unwrap(),
        node: cairn_proto::meta::NewNode::File,
        mode: 0o644,
        umask: 0,
        owner: cairn_proto::attr::Credentials { uid: 0, gid: 0 },
        exclusive: true,
        open: false,
    };
    let origin = Origin { op: OpId { session: SESSION, seq: 1 }, acked: 1 };
    let at = Timestamp::default();
    let undecided = Command::mutation(origin, at, create.clone(), Decided::Nothing);
    assert_eq!(world.apply(&undecided), Err(FsError::NotReady));
    assert_eq!(results(&world), 0);
    let decided = Command::mutation(origin, at, create, Decided::Inode(InodeId(5)));
    assert!(matches!(world.apply(&decided), Ok(Reply::Entry { created: true, .. })));
}
