//! Every invariant, broken once: it is found, and under its own name.

use bytes::Bytes;
use cairn_proto::attr::FileKind;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, DirCookie, InodeId, SessionId};
use cairn_proto::meta::{ChunkExtent, Mutation, NewNode};
use cairn_proto::time::Timestamp;

use super::super::fixture::{SESSION, World, name};
use super::super::inode::{Content, Inode};
use super::super::link::{FurtherLink, Link};
use super::super::orphan::Orphan;
use super::super::slot::{self, Slot};
use super::super::value::save;
use super::super::xattr::{ACL_ACCESS, Xattr};
use super::super::{chunk, counters, delegation, dentry, inode};
use super::*;
use crate::store::Txn;

const ROOT: InodeId = InodeId::ROOT;

/// One of everything.
struct Sound {
    world: World,
    directory: InodeId,
    inner: InodeId,
    file: InodeId,
    orphan: InodeId,
}

fn sound() -> Sound {
    let mut world = World::new();
    let directory = world.directory(ROOT, "directory");
    let inner = world.directory(directory, "inner");
    let file = world.file(inner, "file");
    let orphan = world.file(ROOT, "orphan");
    world.create(ROOT, "symlink", NewNode::Symlink { target: b"x".to_vec() }).unwrap();
    world.link(file, ROOT, "second").unwrap();
    world.set_xattr(file, "user.a", vec![1]).unwrap();
    world.allocate(file, 0, 2, 10).unwrap();
    world.allocate(orphan, 0, 1, 20).unwrap();
    let extent = ChunkExtent { index: ChunkIndex(0), handle: ChunkHandle(10), length: 5, allocated: 4096 };
    let mtime = Timestamp::default();
    let extents = vec![extent];
    world.mutate(Mutation::CommitWrite { inode: file, size: 5, mtime, extents, kill_suid_sgid: false }).unwrap();
    world.unlink(ROOT, "orphan").unwrap();
    Sound { world, directory, inner, file, orphan }
}

fn kinds(read: &dyn Read, limit: usize) -> Vec<String> {
    let mut kinds = Vec::new();
    let mut resume = None;
    loop {
        let page = check(read, resume.as_deref(), limit).unwrap();
        kinds.extend(page.findings.into_iter().map(|finding| finding.kind));
        match page.resume {
            Some(next) => resume = Some(next),
            None => return kinds,
        }
    }
}

fn found(world: &World) -> Vec<String> {
    let mut kinds = kinds(&world.store, 3);
    kinds.sort();
    kinds.dedup();
    kinds
}

fn change_inode(world: &mut World, id: InodeId, with: impl FnOnce(&mut Inode)) {
    let mut inode = inode::get(&world.store, id).unwrap();
    with(&mut inode);
    world.meddle(|txn| save(txn, keys::inode(id), &inode));
}

/// Breaks a sound namespace; answers what is found.
fn broken(with: impl FnOnce(&mut Sound)) -> Vec<String> {
    let mut sound = sound();
    with(&mut sound);
    found(&sound.world)
}

fn meddled(with: impl FnOnce(&Sound, &mut Txn<'_>)) -> Vec<String> {
    broken(|sound| {
        let mut txn = Txn::new(&sound.world.store);
        with(sound, &mut txn);
        let writes = txn.into_writes();
        crate::store::Store::write(&sound.world.store, &writes).unwrap();
    })
}

#[test]
fn a_sound_namespace_has_no_findings_however_it_is_paged() {
    let Sound { world, .. } = sound();
    for limit in [1, 2, 5, 1000] {
        assert_eq!(kinds(&world.store, limit), [""; 0], "{limit}");
    }
    let whole = check(&world.store, None, usize::MAX).unwrap();
    assert_eq!((whole.inodes_checked, whole.chunks_checked), (6, 3));
}

#[test]
fn a_foreign_resume_starts_over() {
    let Sound { world, .. } = sound();
    assert_eq!(check(&world.store, Some(b"?"), usize::MAX).unwrap().inodes_checked, 6);
}

#[test]
fn inodes() {
    assert_eq!(meddled(|_, txn| txn.put(keys::inode(InodeId(5)), vec![9])), ["damaged-value", "wrong-counter"]);
    let misplaced = meddled(|s, txn| {
        let inode = inode::get(txn, s.file).unwrap();
        save(txn, keys::inode(InodeId(5)), &inode);
    });
    assert_eq!(misplaced, ["misplaced-inode", "wrong-counter"]);
    assert_eq!(broken(|s| change_inode(&mut s.world, s.file, |inode| inode.nlink = 3)), ["wrong-nlink"]);
    assert_eq!(broken(|s| change_inode(&mut s.world, s.directory, |inode| inode.nlink = 2)), ["wrong-nlink"]);
    assert_eq!(broken(|s| change_inode(&mut s.world, s.file, |inode| inode.xattr_bytes = 1)), ["wrong-xattr-list"]);
    let allocated = broken(|s| {
        change_inode(&mut s.world, s.file, |inode| match &mut inode.content {
            Content::File(file) => file.allocated = 1,
            _ => unreachable!(),
        })
    });
    assert_eq!(allocated, ["wrong-allocated"]);
}

#[test]
fn orphans() {
    assert_eq!(meddled(|s, txn| txn.delete(keys::orphan(s.orphan))), ["lost-inode", "wrong-counter"]);
    let since = Timestamp::default();
    let living = meddled(|s, txn| save(txn, keys::orphan(s.file), &Orphan { since }));
    assert_eq!(living, ["living-orphan", "wrong-counter"]);
    let missing = meddled(|_, txn| save(txn, keys::orphan(InodeId(5)), &Orphan { since }));
    assert_eq!(missing, ["orphan-without-inode", "wrong-counter"]);
}

#[test]
fn entries() {
    let dangling = meddled(|s, txn| {
        txn.delete(keys::inode(s.orphan));
        txn.delete(keys::orphan(s.orphan));
        dentry::write(txn, Link { parent: s.inner, cookie: DirCookie(1) }, &name("file"), s.orphan, FileKind::File);
    });
    assert!(dangling.contains(&"dangling-entry".to_owned()), "{dangling:?}");
    let kind = meddled(|s, txn| {
        dentry::write(txn, Link { parent: s.inner, cookie: DirCookie(1) }, &name("file"), s.file, FileKind::Fifo);
    });
    assert_eq!(kind, ["wrong-kind"]);
    let unlisted = meddled(|s, txn| txn.delete(keys::listed(Link { parent: s.inner, cookie: DirCookie(1) })));
    assert_eq!(unlisted, ["unlisted-entry", "unnamed-inode"]);
    let phantom = meddled(|s, txn| txn.delete(keys::dentry(s.inner, &name("file"))));
    assert_eq!(phantom, ["phantom-listing", "wrong-entry-count"]);
    let entry = meddled(|s, txn| {
        dentry::write(txn, Link { parent: s.file, cookie: DirCookie(1) }, &name("x"), s.file, FileKind::File);
    });
    assert!(entry.contains(&"entry-without-directory".to_owned()), "{entry:?}");
    let cookie = broken(|s| {
        change_inode(&mut s.world, s.inner, |inode| {
            inode.as_directory_mut().unwrap().next_cookie = DirCookie(1);
        })
    });
    assert_eq!(cookie, ["cookie-not-given-out"]);
    let count = broken(|s| {
        change_inode(&mut s.world, s.inner, |inode| inode.as_directory_mut().unwrap().entries = 2);
    });
    assert_eq!(count, ["wrong-entry-count"]);
}

#[test]
fn links() {
    let link = Link { parent: ROOT, cookie: DirCookie(2) };
    let nowhere = meddled(|s, txn| save(txn, keys::further_link(s.file, link), &FurtherLink));
    assert_eq!(nowhere, ["unnamed-inode", "wrong-nlink"]);
    let home = broken(|s| change_inode(&mut s.world, s.file, |inode| inode.home.cookie = DirCookie(9)));
    assert_eq!(home, ["uncounted-entry", "unnamed-inode"]);
    let linked = meddled(|s, txn| save(txn, keys::further_link(s.inner, link), &FurtherLink));
    assert_eq!(linked, ["linked-directory", "unnamed-inode"]);
    let cycle = broken(|s| change_inode(&mut s.world, s.directory, |inode| inode.home.parent = inode.id));
    assert!(cycle.contains(&"unreachable-directory".to_owned()), "{cycle:?}");
}

#[test]
fn delegations() {
    assert_eq!(meddled(|s, txn| delegation::put(txn, s.inner, SESSION)), [""; 0]);
    assert_eq!(meddled(|s, txn| delegation::put(txn, s.inner, SessionId(77))), [""; 0]);
    let lost = ["delegation-without-directory"];
    assert_eq!(meddled(|s, txn| delegation::put(txn, s.file, SESSION)), lost);
    assert_eq!(meddled(|_, txn| delegation::put(txn, InodeId(5), SESSION)), lost);
    assert_eq!(meddled(|s, txn| txn.put(keys::delegation(s.inner), vec![9])), ["damaged-value"]);
}

#[test]
fn xattrs() {
    let lost = meddled(|_, txn| save(txn, keys::xattr(InodeId(5), b"user.a"), &Xattr(Bytes::new())));
    assert_eq!(lost, ["xattr-without-inode"]);
    let bad = broken(|s| {
        s.world.meddle(|txn| save(txn, keys::xattr(s.file, ACL_ACCESS), &Xattr(Bytes::from_static(b"\x02\0\0\0?"))));
    });
    assert_eq!(bad, ["bad-acl", "wrong-xattr-list"]);
    let acl =
        [&[2, 0, 0, 0][..], &[1, 0, 7, 0, 0, 0, 0, 0], &[4, 0, 0, 0, 0, 0, 0, 0], &[32, 0, 0, 0, 0, 0, 0, 0]].concat();
    let against = meddled(|s, txn| save(txn, keys::xattr(s.file, ACL_ACCESS), &Xattr(acl.into())));
    assert_eq!(against, ["acl-against-mode", "wrong-xattr-list"]);
}

#[test]
fn chunks() {
    let handle = ChunkHandle(11);
    let empty =
        meddled(|s, txn| slot::put(txn, s.file, ChunkIndex(9), Slot { handle: ChunkHandle(5), trimmed_at: None }));
    assert_eq!(empty, ["slot-without-chunk"]);
    let stray = meddled(|s, txn| slot::put(txn, s.inner, ChunkIndex(0), Slot { handle, trimmed_at: None }));
    assert_eq!(stray, ["slot-without-file"]);
    assert_eq!(meddled(|s, txn| slot::delete(txn, s.file, ChunkIndex(1))), ["wrong-refs"]);
    let change = |with: fn(&mut chunk::Chunk)| {
        meddled(|_, txn| {
            let mut chunk = chunk::get(txn, handle).unwrap();
            with(&mut chunk);
            chunk::put(txn, handle, &chunk);
        })
    };
    assert_eq!(change(|chunk| chunk.refs = 2), ["wrong-refs"]);
    assert_eq!(change(|chunk| chunk.members.clear()), ["bad-members"]);
    let garbage = meddled(|_, txn| {
        let chunk = chunk::get(txn, handle).unwrap();
        let garbage = super::super::garbage::Garbage { version: chunk.version, members: chunk.members };
        super::super::garbage::put(txn, handle, &garbage);
    });
    assert_eq!(garbage, ["living-garbage", "wrong-counter"]);
}

#[test]
fn counters_ahead_of_all_ids() {
    let change = |with: fn(&mut Counters)| {
        meddled(|_, txn| {
            let mut counters = counters::get(txn).unwrap();
            with(&mut counters);
            counters::put(txn, &counters);
        })
    };
    assert_eq!(change(|counters| counters.next_inode = InodeId(3)), ["number-not-given-out"]);
    assert_eq!(change(|counters| counters.next_handle = ChunkHandle(20)), ["number-not-given-out"]);
    assert_eq!(change(|counters| counters.chunks += 1), ["wrong-counter"]);
}

#[test]
fn counts_of_what_changes_meanwhile_are_not_compared() {
    let Sound { mut world, directory, .. } = sound();
    let mut resume = None;
    let mut step = 0;
    loop {
        let page = check(&world.store, resume.as_deref(), 1).unwrap();
        assert_eq!(page.findings, []);
        let Some(next) = page.resume else {
            break;
        };
        resume = Some(next);
        step += 1;
        // Always ahead of the check and behind it.
        world.file(directory, &format!("{}{step}", if step % 2 == 0 { "a" } else { "z" }));
        world.file(ROOT, &format!("f{step}"));
        if step > 400 {
            break;
        }
        if step > 2 {
            world.unlink(ROOT, &format!("f{}", step - 1)).unwrap();
        }
    }
}
