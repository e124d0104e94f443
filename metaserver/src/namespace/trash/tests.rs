//! Removing into the trash, restoring from it, and leaving it for good.

use cairn_proto::ids::ChunkIndex;
use cairn_proto::meta::{NewNode, RenameMode};

use crate::command::Internal;
use crate::namespace::fixture::{World, name};
use crate::namespace::{Reply, check, orphan, query, trash};
use crate::store::{MemoryStore, Read};

use super::*;

const ROOT: InodeId = InodeId::ROOT;
const NOTHING: [InodeId; 0] = [];

fn keeping(seconds: u32) -> World {
    let mut world = World::new();
    set(&mut world, ROOT, seconds);
    world
}

fn set(world: &mut World, inode: InodeId, seconds: u32) {
    world.internal(Internal::SetRetention { inode, retention: Retention(seconds) }).unwrap();
}

fn restore(world: &mut World, inode: InodeId, parent: InodeId, entry: &str) -> Result<Reply, FsError> {
    world.internal(Internal::Restore { inode, parent, name: name(entry) })
}

fn drop_trash(world: &mut World, inode: InodeId, expired: bool) {
    world.internal(Internal::DropTrash { inodes: vec![inode], expired }).unwrap();
}

fn inodes(read: &dyn Read) -> Vec<InodeId> {
    query::trash(read, None, 100).unwrap().into_iter().map(|(inode, _)| inode).collect()
}

fn path(path: &str) -> Vec<Name> {
    path.split('/').map(name).collect()
}

fn findings(store: &MemoryStore) -> Vec<String> {
    check::check(store, None, usize::MAX).unwrap().findings.into_iter().map(|finding| finding.kind).collect()
}

/// Where it is kept, a removal answers the same as where it is not.
#[test]
fn removals_are_answered_as_ever() {
    let answers = |mut world: World| {
        let directory = world.directory(ROOT, "d");
        world.file(directory, "f");
        world.file(directory, "g");
        let replaced = world.rename((directory, "f"), (directory, "g"), RenameMode::Replace);
        let removed = world.unlink(directory, "g");
        let rmdir = world.mutate(cairn_proto::meta::Mutation::Rmdir { parent: ROOT, name: name("d") });
        (replaced, removed, rmdir)
    };
    let mut plain = World::new();
    // As many commands before.
    drop_trash(&mut plain, ROOT, false);
    assert_eq!(answers(keeping(60)), answers(plain));
}

#[test]
fn only_what_loses_its_last_name_goes_there() {
    let mut world = keeping(60);
    let file = world.file(ROOT, "f");
    world.link(file, ROOT, "g").unwrap();
    world.unlink(ROOT, "f").unwrap();
    assert_eq!(inodes(&world.store), NOTHING);
    world.unlink(ROOT, "g").unwrap();
    assert_eq!(inodes(&world.store), [file]);
    assert!(!orphan::contains(&world.store, file).unwrap());
    let off = world.directory(ROOT, "off");
    set(&mut world, off, 0);
    let below = world.directory(off, "below");
    let gone = world.file(below, "f");
    world.unlink(below, "f").unwrap();
    assert_eq!(inodes(&world.store), [file]);
    assert!(orphan::contains(&world.store, gone).unwrap());
    assert_eq!(findings(&world.store), Vec::<String>::new());
}

#[test]
fn restored_as_it_was_and_nothing_overwritten() {
    let mut world = keeping(60);
    let directory = world.directory(ROOT, "d");
    let file = world.file(directory, "f");
    world.set_xattr(file, "user.a", vec![1, 2]).unwrap();
    let before = query::get_inode(&world.store, file).unwrap();
    world.unlink(directory, "f").unwrap();
    let other = world.file(directory, "f");
    assert_eq!(restore(&mut world, file, directory, "f"), Err(FsError::Exists));
    assert_eq!(restore(&mut world, file, other, "f"), Err(FsError::NotDirectory));
    assert_eq!(restore(&mut world, other, directory, "g"), Err(FsError::NotFound));
    world.unlink(directory, "f").unwrap();
    restore(&mut world, file, directory, "f").unwrap();
    let after = query::get_inode(&world.store, file).unwrap();
    assert_eq!((after.nlink, after.home, after.mode, after.uid), (1, before.home, before.mode, before.uid));
    assert_eq!(query::get_xattr(&world.store, file, &name("user.a")).unwrap(), [1, 2]);
    assert_eq!(restore(&mut world, file, directory, "g"), Err(FsError::NotFound), "it is not in the trash any more");
    assert_eq!(inodes(&world.store), [other]);
    assert_eq!(findings(&world.store), Vec::<String>::new());
}

/// A directory comes back empty, and what was in it can follow, to the places that it had.
#[test]
fn a_tree_comes_back_from_the_top() {
    let mut world = keeping(60);
    let top = world.directory(ROOT, "t");
    let sub = world.directory(top, "s");
    let early = world.file(sub, "early");
    world.unlink(sub, "early").unwrap();
    let file = world.file(sub, "f");
    world.unlink(sub, "f").unwrap();
    let rmdir = |parent, entry| cairn_proto::meta::Mutation::Rmdir { parent, name: name(entry) };
    world.mutate(rmdir(top, "s")).unwrap();
    world.mutate(rmdir(ROOT, "t")).unwrap();
    let found = |world: &World, at: &str| query::find_trash(&world.store, &path(at)).unwrap().removed;
    assert_eq!(found(&world, "t/s/f").unwrap().0, file);
    assert_eq!(query::path_of_directory(&world.store, sub).unwrap(), Some(path("t/s")));
    assert_eq!(restore(&mut world, file, sub, "f"), Err(FsError::NotFound), "not into what is removed itself");
    restore(&mut world, top, ROOT, "t").unwrap();
    restore(&mut world, sub, top, "s").unwrap();
    let (_, next_cookie) = query::retention_of(&world.store, sub).unwrap();
    let of = |inode| query::trash_record(&world.store, inode).unwrap().next_cookie == next_cookie;
    assert!(of(file) && !of(early), "what was removed with it is told from what was removed before");
    restore(&mut world, file, sub, "f").unwrap();
    assert_eq!(query::retention_of(&world.store, sub).unwrap().1, next_cookie, "and still is, half way");
    assert_eq!(query::resolve(&world.store, &path("t/s/f")).unwrap(), file);
    assert_eq!(query::get_inode(&world.store, top).unwrap().nlink, 3);
    assert_eq!(inodes(&world.store), [early]);
    assert_eq!(findings(&world.store), Vec::<String>::new());
}

#[test]
fn of_several_of_a_name_the_latest_is_found() {
    let mut world = keeping(60);
    let all: Vec<_> = (0..3)
        .map(|_| {
            let directory = world.directory(ROOT, "d");
            let file = world.file(directory, "f");
            world.unlink(directory, "f").unwrap();
            world.mutate(cairn_proto::meta::Mutation::Rmdir { parent: ROOT, name: name("d") }).unwrap();
            (directory, file)
        })
        .collect();
    let found = query::find_trash(&world.store, &path("d/f")).unwrap();
    assert_eq!((found.removed.unwrap().0, found.living), (all[2].1, None));
    restore(&mut world, all[0].0, ROOT, "d").unwrap();
    let found = query::find_trash(&world.store, &path("d")).unwrap();
    assert_eq!((found.removed.unwrap().0, found.living), (all[2].0, Some(all[0].0)));
    assert_eq!(query::find_trash(&world.store, &path("x/f")).unwrap().removed, None);
}

#[test]
fn what_has_expired_leaves_and_nothing_else() {
    let mut world = keeping(1000);
    let long = world.file(ROOT, "long");
    world.unlink(ROOT, "long").unwrap();
    set(&mut world, ROOT, 3);
    let short = world.file(ROOT, "short");
    world.unlink(ROOT, "short").unwrap();
    let removed = query::trash_record(&world.store, short).unwrap().deleted;
    let after = |secs| Timestamp { secs: removed.secs + secs, nanos: 0 };
    let expired = |world: &World, at| query::expired_trash(&world.store, at, 10).unwrap();
    assert_eq!(expired(&world, after(2)), NOTHING);
    assert_eq!(expired(&world, after(3)), [short]);
    assert_eq!(expired(&world, after(2000)), [short, long]);
    // By the time of the command.
    drop_trash(&mut world, short, true);
    assert_eq!(inodes(&world.store), [long, short]);
    for _ in 0..3 {
        drop_trash(&mut world, long, true);
    }
    drop_trash(&mut world, short, true);
    assert_eq!(inodes(&world.store), [long]);
    assert!(orphan::contains(&world.store, short).unwrap());
    drop_trash(&mut world, long, false);
    drop_trash(&mut world, long, false);
    assert_eq!(inodes(&world.store), NOTHING);
    world.internal(Internal::Reap { inodes: vec![long, short] }).unwrap();
    assert_eq!(query::counters(&world.store).unwrap().inodes, 1);
    assert_eq!(findings(&world.store), Vec::<String>::new());
}

#[test]
fn bytes_are_counted_as_they_come_and_go() {
    let mut world = keeping(60);
    let file = world.file(ROOT, "f");
    world.allocate(file, 0, 1, 1).unwrap();
    world.unlink(ROOT, "f").unwrap();
    let bytes = |world: &World| query::counters(&world.store).unwrap().trash_bytes;
    assert_eq!(bytes(&world), 0);
    let extent = cairn_proto::meta::ChunkExtent {
        index: ChunkIndex(0),
        handle: cairn_proto::ids::ChunkHandle(1),
        length: 5000,
        allocated: 8192,
    };
    let commit = cairn_proto::meta::Mutation::CommitWrite {
        inode: file,
        size: 5000,
        mtime: Timestamp { secs: 1, nanos: 0 },
        extents: vec![extent],
        kill_suid_sgid: false,
    };
    world.mutate(commit).unwrap();
    assert_eq!(bytes(&world), 8192);
    let set = cairn_proto::attr::SetAttr { size: Some(100), ..Default::default() };
    world.mutate(cairn_proto::meta::Mutation::SetAttr { inode: file, set }).unwrap();
    assert_eq!(bytes(&world), 4096);
    assert_eq!(findings(&world.store), Vec::<String>::new());
    drop_trash(&mut world, file, false);
    assert_eq!(bytes(&world), 0);
    assert_eq!(findings(&world.store), Vec::<String>::new());
}

#[test]
fn damage_of_it_is_found() {
    let world = || {
        let mut world = keeping(60);
        let file = world.file(ROOT, "f");
        world.unlink(ROOT, "f").unwrap();
        let trashed = query::trash_record(&world.store, file).unwrap();
        (world, file, trashed)
    };
    let (mut one, file, trashed) = world();
    one.meddle(|txn| txn.delete(index_keys(file, &trashed)[1].clone()));
    assert_eq!(findings(&one.store), ["unlisted-trash"]);
    let (mut one, file, _) = world();
    one.meddle(|txn| txn.delete(keys::trash(file)));
    assert_eq!(findings(&one.store), ["lost-inode", "dangling-trash", "dangling-trash", "wrong-counter"]);
    let (mut one, file, _) = world();
    one.meddle(|txn| save(txn, keys::orphan(file), &orphan::Orphan { since: Timestamp::default() }));
    assert_eq!(findings(&one.store), ["orphan-in-trash", "wrong-counter"]);
    let (mut one, file, trashed) = world();
    one.meddle(|txn| save(txn, keys::trash(file), &Trashed { bytes: 7, ..trashed.clone() }));
    assert_eq!(findings(&one.store), ["wrong-counter"]);
    assert!(trash::find(&one.store, file).unwrap().is_some());
    let (mut one, file, _) = world();
    one.meddle(|txn| txn.delete(keys::inode(file)));
    assert_eq!(findings(&one.store), ["trash-without-inode", "wrong-counter"]);
    assert_eq!(one.create(ROOT, "f", NewNode::File).map(drop), Ok(()));
}
