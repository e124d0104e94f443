//! Limits, and what random operations do not come across.

use cairn_proto::admin::ServerMode;
use cairn_proto::attr::{LINK_MAX, SetAttr};
use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ClusterId, DirCookie, InodeId};
use cairn_proto::meta::{MAX_DIR_PAGE, Mutation, NewNode, ReadDir, RenameMode, XATTR_LIST_MAX, XATTR_SIZE_MAX};
use cairn_proto::policy::{Durability, Placement, PlacementId, Policy, PolicyChange};
use cairn_proto::transport::Endpoint;
use uuid::Uuid;

use super::fixture::{World, name, server};
use super::server::Server;
use super::value::save;
use super::{MAX_REAP_CHUNKS, Reply, inode, keys, query};
use crate::command::Internal;

const ROOT: InodeId = InodeId::ROOT;

fn set_nlink(world: &mut World, id: InodeId, nlink: u32) {
    let mut inode = inode::get(&world.store, id).unwrap();
    inode.nlink = nlink;
    world.meddle(|txn| save(txn, keys::inode(id), &inode));
}

#[test]
fn a_cluster_is_created_once() {
    let mut world = World::new();
    let policy = Policy { copies: 1, durability: Durability::Fsync, placement: Default::default() };
    let cluster = ClusterId(Uuid::max());
    let again = world.internal(Internal::CreateCluster { cluster, mode: 0, uid: 0, gid: 0, policy });
    assert_eq!(again, Err(FsError::Exists));
    assert_eq!(query::cluster(&world.store).unwrap().unwrap().id, ClusterId(Uuid::nil()));
}

#[test]
fn links_are_limited() {
    let mut world = World::new();
    let file = world.file(ROOT, "file");
    set_nlink(&mut world, file, LINK_MAX);
    assert_eq!(world.link(file, ROOT, "other"), Err(FsError::TooManyLinks));

    let full = world.directory(ROOT, "full");
    let directory = world.directory(ROOT, "directory");
    let inner = world.directory(full, "inner");
    let plain = world.file(full, "plain");
    set_nlink(&mut world, full, LINK_MAX);
    assert_eq!(world.create(full, "new", NewNode::Directory), Err(FsError::TooManyLinks));
    assert!(world.create(full, "file", NewNode::File).is_ok());
    let (from, to) = ((ROOT, "directory"), (full, "new"));
    assert_eq!(world.rename(from, to, RenameMode::Replace), Err(FsError::TooManyLinks));
    let (from, to) = ((ROOT, "directory"), (full, "plain"));
    assert_eq!(world.rename(from, to, RenameMode::Exchange), Err(FsError::TooManyLinks));
    // One directory for another, and files, need no room.
    assert!(world.rename((ROOT, "directory"), (full, "inner"), RenameMode::Exchange).is_ok());
    assert!(world.rename((ROOT, "file"), (full, "plain"), RenameMode::Exchange).is_ok());
    for id in [directory, inner, plain] {
        assert!(query::path_of(&world.store, id).unwrap().is_some());
    }
}

#[test]
fn xattrs_are_limited() {
    let mut world = World::new();
    let file = world.file(ROOT, "file");
    assert!(world.set_xattr(file, "user.big", vec![7; XATTR_SIZE_MAX]).is_ok());
    assert_eq!(world.set_xattr(file, "user.big", vec![7; XATTR_SIZE_MAX + 1]), Err(FsError::XattrTooLarge));
    assert_eq!(query::get_xattr(&world.store, file, &name("user.big")).unwrap().len(), XATTR_SIZE_MAX);
    assert_eq!(world.set_xattr(file, "user.", vec![]), Err(FsError::InvalidArgument));

    let mut listed = "user.big".len() + 1;
    for n in 0.. {
        let long = format!("user.{n:0250}");
        match world.set_xattr(file, &long, vec![]) {
            Ok(_) => listed += long.len() + 1,
            Err(error) => {
                assert_eq!(error, FsError::XattrTooLarge);
                assert!(listed + long.len() + 1 > XATTR_LIST_MAX);
                break;
            }
        }
    }
    let names = query::list_xattr(&world.store, file).unwrap();
    assert_eq!(names.iter().map(|name| name.as_bytes().len() + 1).sum::<usize>(), listed);
    // What is there can be changed, and removing makes room.
    assert!(world.set_xattr(file, "user.big", vec![1]).is_ok());
    assert!(world.mutate(Mutation::RemoveXattr { inode: file, name: names[0].clone() }).is_ok());
    assert!(world.set_xattr(file, "user.x", vec![]).is_ok());
}

#[test]
fn a_large_file_is_reaped_in_pieces() {
    let mut world = World::new();
    let file = world.file(ROOT, "file");
    let other = world.file(ROOT, "other");
    let calls = MAX_REAP_CHUNKS as u32 / 64 + 1;
    for call in 0..calls {
        world.allocate(file, call * 64, 64, 1 + u64::from(call) * 64).unwrap();
    }
    let chunks = u64::from(calls) * 64;
    world.unlink(ROOT, "file").unwrap();
    world.unlink(ROOT, "other").unwrap();
    let reap = Internal::Reap { inodes: vec![other, file] };
    assert_eq!(world.internal(reap.clone()), Ok(Reply::Reaped { gone: vec![other], more: true }));
    let counters = query::counters(&world.store).unwrap();
    assert_eq!((counters.chunks, counters.garbage), (64, chunks - 64));
    assert_eq!(world.internal(reap.clone()), Ok(Reply::Reaped { gone: vec![file], more: false }));
    assert_eq!(world.internal(reap), Ok(Reply::Reaped { gone: vec![], more: false }));
    let counters = query::counters(&world.store).unwrap();
    assert_eq!((counters.chunks, counters.garbage, counters.orphans, counters.inodes), (0, chunks, 0, 1));
}

#[test]
fn the_last_chunk_of_the_largest_file() {
    let mut world = World::new();
    let file = world.file(ROOT, "file");
    let last = (1 << 30) - 1;
    assert!(world.allocate(file, last, 1, 1).is_ok());
    assert_eq!(world.allocate(file, last, 2, 2), Err(FsError::FileTooLarge));
    assert_eq!(world.allocate(file, u32::MAX, 1, 2), Err(FsError::FileTooLarge));
    assert_eq!(world.allocate(file, 0, 65, 2), Err(FsError::InvalidArgument));
    let size = |size| Mutation::SetAttr { inode: file, set: SetAttr { size: Some(size), ..SetAttr::default() } };
    world.mutate(size(1 << 56)).unwrap();
    assert_eq!(query::locate(&world.store, file, ChunkIndex(last), 1).unwrap().len(), 1);
    world.mutate(size((1 << 56) - CHUNK_SIZE)).unwrap();
    assert_eq!(query::locate(&world.store, file, ChunkIndex(last), 1).unwrap().len(), 0);
}

#[test]
fn handles_in_use_are_not_taken_again() {
    let mut world = World::new();
    let file = world.file(ROOT, "file");
    world.allocate(file, 0, 1, 7).unwrap();
    assert_eq!(world.allocate(file, 1, 1, 7), Err(FsError::NotReady));
    let set = SetAttr { size: Some(1), ..SetAttr::default() };
    world.mutate(Mutation::SetAttr { inode: file, set: set.clone() }).unwrap();
    world.mutate(Mutation::SetAttr { inode: file, set: SetAttr { size: Some(0), ..set } }).unwrap();
    assert!(query::garbage_of(&world.store, ChunkHandle(7)).unwrap().is_some());
    assert_eq!(world.allocate(file, 0, 1, 7), Err(FsError::NotReady));
    assert_eq!(query::counters(&world.store).unwrap().next_handle, ChunkHandle(8));
}

#[test]
fn a_large_directory_is_listed_in_pages_while_it_shrinks() {
    const ENTRIES: usize = 3000;
    let mut world = World::new();
    for n in 0..ENTRIES {
        world.file(ROOT, &format!("f{n}"));
    }
    let mut request = ReadDir { inode: ROOT, after: DirCookie::START, limit: 100, plus: true };
    let mut seen = Vec::new();
    loop {
        let page = query::read_dir(&world.store, request).unwrap();
        let last = page.entries.last().map(|entry| entry.cookie);
        // As `rm -r` does: what has been listed is removed before the listing goes on.
        for entry in page.entries {
            world.unlink(ROOT, &entry.name.to_string()).unwrap();
            seen.push(entry.name);
        }
        request.after = last.unwrap_or(request.after);
        if page.end {
            break;
        }
    }
    assert_eq!(seen.len(), ENTRIES);
    assert_eq!(query::get_attr(&world.store, ROOT).unwrap().nlink, 2);
    assert!(query::read_dir(&world.store, ReadDir { after: DirCookie::START, ..request }).unwrap().entries.is_empty());
    assert!(query::read_dir(&world.store, ReadDir { limit: MAX_DIR_PAGE + 1, ..request }).unwrap().end);
}

#[test]
fn servers_are_remembered() {
    let mut world = World::new();
    let endpoint = |port| Endpoint::Tcp { host: "h".into(), port };
    for port in [1, 2] {
        let (labels, mode) = (Default::default(), Default::default());
        let remembered = Server { name: "one".into(), endpoint: endpoint(port), labels, mode };
        world.internal(Internal::RememberServer { server: server(1), remembered }).unwrap();
        world.internal(Internal::SetServerMode { server: server(1), mode: ServerMode::Draining }).unwrap();
    }
    let servers = query::servers(&world.store).unwrap();
    assert_eq!(servers.len(), 1);
    assert_eq!((servers[0].0, servers[0].1.endpoint.clone()), (server(1), endpoint(2)));
    assert_eq!(servers[0].1.mode, ServerMode::Draining, "registering again changes nothing about that");
    let unknown = Internal::SetServerMode { server: server(2), mode: ServerMode::Draining };
    assert_eq!(world.internal(unknown), Err(FsError::NotFound));
    world.internal(Internal::ForgetServer { server: server(1) }).unwrap();
    assert!(query::servers(&world.store).unwrap().is_empty());
}

#[test]
fn equal_placements_have_one_number() {
    let mut world = World::new();
    let define = |world: &mut World, on: &str| {
        let placement = Placement { on: on.parse().unwrap(), ..Placement::default() };
        match world.internal(Internal::DefinePlacement { placement }).unwrap() {
            Reply::Placement(id) => id,
            other => panic!("{other:?}"),
        }
    };
    let ids = ["", "a=b", "c=d", "a=b", ""].map(|on| define(&mut world, on));
    assert_eq!(ids, [0, 1, 2, 1, 0].map(PlacementId));
    assert_eq!(query::placement(&world.store, ids[2]).unwrap().on, "c=d".parse().unwrap());
    let set = |placement| Mutation::SetPolicy {
        inode: ROOT,
        change: PolicyChange { placement: Some(PlacementId(placement)), ..PolicyChange::default() },
    };
    assert_eq!(world.mutate(set(9)), Err(FsError::InvalidArgument), "nobody defined it");
    world.mutate(set(2)).unwrap();
    assert_eq!(query::policy_of(&world.store, ROOT).unwrap().placement, PlacementId(2));
}
