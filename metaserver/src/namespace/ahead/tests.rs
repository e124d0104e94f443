use cairn_proto::attr::Credentials;
use cairn_proto::ids::OpId;
use cairn_proto::meta::NewNode;

use super::*;
use crate::command::{Internal, Origin};
use crate::namespace::fixture::{SESSION, World, name};

const ROOT: InodeId = InodeId::ROOT;
const AT: Timestamp = Timestamp { secs: 5, nanos: 6 };

fn world() -> World {
    let mut world = World::new();
    world.internal(Internal::ReserveInodes { upto: InodeId(8000) }).unwrap();
    world
}

fn mkdir(entry: &str) -> Mutation {
    let (name, owner) = (name(entry), Credentials { uid: 0, gid: 0 });
    let node = NewNode::Directory;
    Mutation::Create { parent: ROOT, name, node, mode: 0o755, umask: 0, owner, exclusive: true, open: false }
}

/// The operation in the given place, under the name that follows from it.
fn ahead(world: &mut World, position: u64, mutation: Mutation, inode: Option<InodeId>) -> Result<(), FsError> {
    at(world, AT, position, mutation, inode)
}

fn at(
    world: &mut World,
    at: Timestamp,
    position: u64,
    mutation: Mutation,
    inode: Option<InodeId>,
) -> Result<(), FsError> {
    let origin = Origin { op: OpId { session: SESSION, seq: position + 10 }, acked: 1 };
    let decided = Decided::Ahead { position, inode };
    world.apply(&Command::mutation(origin, at, mutation, decided)).map(drop)
}

#[test]
fn one_after_the_other() {
    let mut world = world();
    let number = |n: u64| Some(InodeId(7000 + n));
    assert_eq!(ahead(&mut world, 2, mkdir("b"), number(2)), Err(FsError::NotReady));
    ahead(&mut world, 1, mkdir("a"), number(1)).unwrap();
    assert_eq!(ahead(&mut world, 3, mkdir("c"), number(3)), Err(FsError::NotReady));
    ahead(&mut world, 2, mkdir("b"), number(2)).unwrap();
    ahead(&mut world, 1, mkdir("a"), number(1)).expect("the answer that it had");
    // Refused for good: the next one has its turn.
    assert_eq!(ahead(&mut world, 3, mkdir("a"), number(3)), Err(FsError::Exists));
    ahead(&mut world, 4, mkdir("d"), number(4)).unwrap();
    let origin = Origin { op: OpId { session: SESSION, seq: 100 }, acked: 1 };
    let decided = Decided::Ahead { position: 3, inode: number(5) };
    let late = world.apply(&Command::mutation(origin, AT, mkdir("e"), decided));
    assert_eq!(late, Err(FsError::InvalidArgument), "another operation in its place");
    ahead(&mut world, 5, mkdir("f"), number(5)).unwrap();
}

#[test]
fn who_has_to_wait_keeps_the_others_waiting() {
    let mut world = world();
    let other = SessionId(2);
    world.open_session(other);
    let take = |inode| Mutation::TakeDelegation { inode, max_entries: 9 };
    world.mutate_as(other, take(ROOT), Decided::Nothing).unwrap();
    let number = |n: u64| Some(InodeId(7000 + n));
    assert_eq!(ahead(&mut world, 1, mkdir("a"), number(1)), Err(FsError::Delegated(ROOT)));
    assert_eq!(ahead(&mut world, 2, mkdir("b"), number(2)), Err(FsError::NotReady));
    world.internal(Internal::CloseSession { session: other }).unwrap();
    ahead(&mut world, 1, mkdir("a"), number(1)).unwrap();
    ahead(&mut world, 2, mkdir("b"), number(2)).unwrap();
}

#[test]
fn what_no_client_could_have_decided_is_refused_and_has_had_its_turn() {
    let mut world = world();
    let invalid = Err(FsError::InvalidArgument);
    for (position, number) in [(1, None), (2, Some(0)), (3, Some(1)), (4, Some(8000))] {
        assert_eq!(ahead(&mut world, position, mkdir("a"), number.map(InodeId)), invalid, "{number:?}");
    }
    let never = Timestamp { secs: 0, nanos: 1_000_000_000 };
    assert_eq!(at(&mut world, never, 5, mkdir("a"), Some(InodeId(7000))), invalid);
    ahead(&mut world, 6, mkdir("a"), Some(InodeId(7999))).unwrap();
}
