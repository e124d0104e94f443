//! What a delegation keeps others from, and how it begins and ends. That all mutations are refused where they should be is for
//! random operations against the model, in `tests/namespace_model.rs`.

use cairn_proto::attr::{Credentials, SetAttr};
use cairn_proto::ids::DirCookie;
use cairn_proto::meta::{Delegation, DirPage, Mutation, NewNode, ReadDir, RenameMode};
use cairn_proto::policy::PolicyChange;

use super::*;
use crate::command::{Body, Command, Decided, Internal};
use crate::namespace::fixture::{SESSION as S, World, name};
use crate::namespace::query::{self, Viewer};
use crate::namespace::{NamespaceError, Reply};
use cairn_proto::time::Timestamp;

const T: SessionId = SessionId(2);
const ROOT: InodeId = InodeId::ROOT;
const AHEAD: InodeId = InodeId(7000);

type Answer = Result<Reply, FsError>;

/// Two sessions; `S` has the directory.
fn delegated() -> (World, InodeId) {
    let mut world = World::new();
    world.open_session(T);
    let directory = world.directory(ROOT, "d");
    assert!(take(&mut world, S, directory).is_some());
    (world, directory)
}

fn take(world: &mut World, session: SessionId, inode: InodeId) -> Option<Delegation> {
    let take = Mutation::TakeDelegation { inode, max_entries: 3 };
    match world.mutate_as(session, take, Decided::Nothing).unwrap() {
        Reply::Delegated(delegation) => delegation,
        other => panic!("{other:?}"),
    }
}

fn give_back(world: &mut World, session: SessionId, inode: InodeId) {
    let back = Mutation::ReturnDelegation { inode };
    assert_eq!(world.mutate_as(session, back, Decided::Nothing), Ok(Reply::Done));
}

fn holder_of(world: &World, directory: InodeId) -> Option<SessionId> {
    query::delegated_to(&world.store, directory).unwrap()
}

fn by(world: &mut World, session: SessionId, mutation: Mutation) -> Answer {
    world.mutate_as(session, mutation, Decided::Inode(InodeId(9000)))
}

fn chmod(inode: InodeId) -> Mutation {
    Mutation::SetAttr { inode, set: SetAttr { mode: Some(0o600), ..SetAttr::default() } }
}

fn create(parent: InodeId, entry: &str, node: NewNode, exclusive: bool) -> Mutation {
    let owner = Credentials { uid: 1, gid: 1 };
    Mutation::Create { parent, name: name(entry), node, mode: 0o755, umask: 0, owner, exclusive, open: false }
}

fn refused(answer: Result<impl std::fmt::Debug, NamespaceError>) -> Option<FsError> {
    match answer {
        Err(NamespaceError::Refused(refusal)) => Some(refusal),
        _ => None,
    }
}

#[test]
fn one_has_it_at_a_time() {
    let (mut world, directory) = delegated();
    let before = query::get_attr(&world.store, directory).unwrap();
    assert_eq!(take(&mut world, T, directory), None);
    let again = take(&mut world, S, directory).unwrap();
    assert_eq!((&again.attr, again.parent), (&before, ROOT));
    give_back(&mut world, T, directory);
    assert_eq!(holder_of(&world, directory), Some(S));
    give_back(&mut world, S, directory);
    give_back(&mut world, S, InodeId(5000));
    assert!(take(&mut world, T, directory).is_some());
    assert_eq!(query::get_attr(&world.store, directory).unwrap(), before, "it looks as it did all the time");
}

#[test]
fn not_everything_is_delegated() {
    let (mut world, directory) = delegated();
    let file = world.file(ROOT, "f");
    let mut take = |inode| world.mutate(Mutation::TakeDelegation { inode, max_entries: 1 });
    assert_eq!(take(ROOT), Ok(Reply::Delegated(None)), "it has two entries");
    assert_eq!(take(file), Err(FsError::NotDirectory));
    assert_eq!(take(InodeId(5000)), Err(FsError::Stale(InodeId(5000))));
    let body = Body::Mutation {
        mutation: Mutation::TakeDelegation { inode: directory, max_entries: 1 },
        decided: Decided::Nothing,
    };
    let nobody = world.apply(&Command { origin: None, at: Timestamp::default(), body });
    assert_eq!(nobody, Err(FsError::InvalidArgument));
}

#[test]
fn a_refusal_is_not_recorded() {
    let (mut world, directory) = delegated();
    let origin = crate::command::Origin { op: cairn_proto::ids::OpId { session: T, seq: 500 }, acked: 500 };
    let chmod = Command::mutation(origin, Timestamp::default(), chmod(directory), Decided::Nothing);
    assert_eq!(world.apply(&chmod), Err(FsError::Delegated(directory)));
    give_back(&mut world, S, directory);
    assert!(world.apply(&chmod).is_ok());
}

#[test]
fn it_ends_with_its_session_or_directory() {
    let (mut world, directory) = delegated();
    let inner = world.directory(directory, "inner");
    let other = world.directory(ROOT, "other");
    for directory in [inner, other] {
        assert!(take(&mut world, S, directory).is_some());
    }
    world.mutate(Mutation::Rmdir { parent: directory, name: name("inner") }).unwrap();
    world.rename((ROOT, "d"), (ROOT, "other"), RenameMode::Replace).unwrap();
    let rows = |world: &World| {
        let range = keys::all_delegations();
        world.store.scan_page(&range.start, &range.end, usize::MAX).unwrap().len()
    };
    assert_eq!(rows(&world), 1, "of those that were removed nothing is left");
    assert!(take(&mut world, T, ROOT).is_some());
    world.internal(Internal::CloseSession { session: S }).unwrap();
    assert_eq!((rows(&world), holder_of(&world, directory), holder_of(&world, ROOT)), (1, None, Some(T)));
}

#[test]
fn what_a_dead_session_left_is_void() {
    let (mut world, directory) = delegated();
    world.meddle(|txn| put(txn, directory, SessionId(77)));
    assert!(world.file(directory, "f") > ROOT);
    assert!(take(&mut world, T, directory).is_some());
}

#[test]
fn a_file_belongs_to_all_who_name_it() {
    let (mut world, directory) = delegated();
    let file = world.file(directory, "f");
    world.link(file, ROOT, "link").unwrap();
    world.link(file, ROOT, "third").unwrap();
    let delegated = Err(FsError::Delegated(directory));
    assert_eq!(by(&mut world, T, chmod(file)), delegated);
    assert_eq!(by(&mut world, T, Mutation::Unlink { parent: ROOT, name: name("link") }), delegated);
    let away =
        |name, new_name| Mutation::Rename { parent: ROOT, name, new_parent: ROOT, new_name, mode: RenameMode::Replace };
    assert_eq!(by(&mut world, T, away(name("link"), name("moved"))), delegated);
    assert_eq!(by(&mut world, T, create(ROOT, "link", NewNode::File, false)), delegated);
    assert_eq!(by(&mut world, T, create(ROOT, "link", NewNode::File, true)), Err(FsError::Exists));
    // Without its name there it is nobody's business any more.
    by(&mut world, S, Mutation::Unlink { parent: directory, name: name("f") }).unwrap();
    by(&mut world, T, chmod(file)).unwrap();
    for last in ["link", "third"] {
        by(&mut world, T, Mutation::Unlink { parent: ROOT, name: name(last) }).unwrap();
    }
    assert!(take(&mut world, S, ROOT).is_some());
    by(&mut world, T, chmod(file)).unwrap();
}

#[test]
fn nobody_else_changes_it_not_even_the_metaserver() {
    let (mut world, directory) = delegated();
    let change = PolicyChange { copies: Some(3), ..PolicyChange::default() };
    let body = Body::Mutation { mutation: Mutation::SetPolicy { inode: directory, change }, decided: Decided::Nothing };
    let set = Command { origin: None, at: Timestamp::default(), body };
    assert_eq!(world.apply(&set), Err(FsError::Delegated(directory)));
    give_back(&mut world, S, directory);
    assert!(world.apply(&set).is_ok());
}

#[test]
fn what_is_made_ahead_has_the_number_and_its_directories_are_delegated() {
    let (mut world, directory) = delegated();
    world.internal(Internal::ReserveInodes { upto: InodeId(8000) }).unwrap();
    assert_eq!(query::counters(&world.store).unwrap().next_inode, InodeId(8000));
    let mut position = 0;
    let mut ahead = |parent, entry, node, id| {
        position += 1;
        let decided = Decided::Ahead { position, inode: Some(id) };
        let made = world.mutate_decided(create(parent, entry, node, true), decided);
        made.map(|_| (holder_of(&world, id), query::counters(&world.store).unwrap().next_inode))
    };
    let reserved = InodeId(8000);
    assert_eq!(ahead(directory, "inner", NewNode::Directory, AHEAD), Ok((Some(S), reserved)));
    assert_eq!(ahead(AHEAD, "f", NewNode::File, InodeId(7001)), Ok((None, reserved)));
    assert_eq!(ahead(ROOT, "e", NewNode::Directory, InodeId(7002)), Ok((None, reserved)), "the root is not delegated");
    assert_eq!(ahead(directory, "again", NewNode::File, AHEAD), Err(FsError::InvalidArgument));
    world.internal(Internal::ReserveInodes { upto: InodeId(10) }).unwrap();
    assert_eq!(query::counters(&world.store).unwrap().next_inode, reserved);
}

#[test]
fn others_wait_to_see_it() {
    let (mut world, directory) = delegated();
    let file = world.file(directory, "f");
    world.link(file, ROOT, "link").unwrap();
    world.file(ROOT, "other");
    let see = |session| Viewer::new(&world.store, session);
    let delegated = Some(FsError::Delegated(directory));
    assert_eq!(refused(see(T).lookup(directory, &name("f"))), delegated);
    assert_eq!(refused(see(T).lookup(directory, &name("missing"))), delegated);
    assert_eq!(refused(see(T).lookup(ROOT, &name("d"))), delegated);
    assert_eq!(refused(see(T).lookup(ROOT, &name("link"))), delegated);
    assert_eq!(refused(see(T).get_inode(file)), delegated);
    assert_eq!(refused(see(T).of_inode(file, query::list_xattr)), delegated);
    let list = |session, inode| see(session).read_dir(ReadDir { inode, after: DirCookie::START, limit: 9, plus: true });
    assert_eq!(refused(list(T, directory)), delegated);
    let shown = |page: DirPage| page.entries.into_iter().map(|entry| entry.attr.is_some()).collect::<Vec<_>>();
    assert_eq!(shown(list(T, ROOT).unwrap()), [false, false, true]);
    assert_eq!(shown(list(S, ROOT).unwrap()), [true, true, true]);
    assert!(see(S).lookup(directory, &name("f")).unwrap().is_some());
    assert_eq!(see(T).lookup(ROOT, &name("other")).unwrap().unwrap().nlink, 1);
    assert_eq!(refused(see(T).get_inode(InodeId(5000))), Some(FsError::Stale(InodeId(5000))));
    assert!(see(T).lookup(ROOT, &name("missing")).unwrap().is_none());
}
