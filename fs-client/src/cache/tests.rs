use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::ids::{InodeId, LogIndex};
use cairn_proto::name::Name;
use cairn_proto::time::Timestamp;

use super::*;

fn attr(inode: u64, changed_at: u64, size: u64) -> Attr {
    let time = Timestamp { secs: changed_at as i64, nanos: 0 };
    Attr {
        inode: InodeId(inode),
        kind: FileKind::File,
        mode: 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size,
        allocated: 0,
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        has_xattrs: false,
        changed_at: LogIndex(changed_at),
    }
}

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

#[test]
fn attributes_are_believed_under_a_lease() {
    let (drops, cache) = (Drops::default(), AttrCache::new(100));
    let inode = InodeId(2);
    cache.learn(&attr(2, 1, 0), false, drops.asked(), &drops);
    assert_eq!(cache.get(inode), None);
    assert_eq!(cache.last_seen(inode).unwrap().changed_at, LogIndex(1));
    cache.learn(&attr(2, 1, 0), true, drops.asked(), &drops);
    assert_eq!(cache.get(inode).unwrap().changed_at, LogIndex(1));
    cache.learn(&attr(2, 2, 7), false, drops.asked(), &drops);
    assert_eq!(cache.get(inode).unwrap().size, 7, "a change of this mount, under the lease it has");
    let asked = drops.asked();
    drops.dropped(inode);
    cache.doubt(inode);
    cache.learn(&attr(2, 3, 8), true, asked, &drops);
    assert_eq!(cache.get(inode), None, "the answer was on its way when the lease ended");
    cache.learn(&attr(2, 3, 8), true, drops.asked(), &drops);
    assert_eq!(cache.doubt_all(), [inode]);
    assert_eq!((cache.get(inode), cache.doubt_all().len()), (None, 0));
}

#[test]
fn a_late_answer_never_replaces_a_newer_one() {
    let (drops, cache) = (Drops::default(), AttrCache::new(100));
    let learn = |attr: &Attr| cache.learn(attr, true, drops.asked(), &drops);
    assert_eq!(learn(&attr(2, 9, 50)), Learned::Newest);
    assert_eq!(learn(&attr(2, 8, 10)), Learned::Outdated);
    assert_eq!(cache.get(InodeId(2)).unwrap().size, 50);
    cache.doubt(InodeId(2));
    assert_eq!(learn(&attr(2, 8, 10)), Learned::Outdated, "doubted, yet still the newest seen");
}

#[test]
fn leases_of_what_had_to_go_are_spare() {
    let (drops, cache) = (Drops::default(), AttrCache::new(32));
    for inode in 0..1000 {
        cache.learn(&attr(inode, 1, 0), inode % 2 == 0, drops.asked(), &drops);
    }
    let spare = cache.take_spare(10);
    assert_eq!(spare.len(), 10);
    let rest = cache.take_spare(usize::MAX);
    let mut all: Vec<_> = spare.into_iter().chain(rest).collect();
    all.sort_unstable();
    all.dedup();
    assert!((450..=500).contains(&all.len()) && all.iter().all(|inode| inode.0 % 2 == 0 && !cache.is_leased(*inode)));
}

#[test]
fn a_lookup_overtaken_by_a_mutation_is_not_remembered() {
    let (drops, cache) = (Drops::default(), NameCache::new(1000));
    let (dir, file) = (InodeId(1), InodeId(7));
    cache.leased(dir, drops.asked(), &drops);
    let (asked, epoch) = (drops.asked(), cache.epoch(dir));
    cache.changed(dir, name("a"), Named::Inode(file), drops.asked(), &drops);
    cache.learn(dir, name("a"), Named::Absent, asked, epoch, &drops);
    assert_eq!(cache.get(dir, &name("a")), Some(Named::Inode(file)));
}

#[test]
fn names_are_believed_under_the_lease_that_they_came_with() {
    let (drops, cache) = (Drops::default(), NameCache::new(1000));
    let dir = InodeId(1);
    let learn = |text, asked| cache.learn(dir, name(text), Named::Absent, asked, cache.epoch(dir), &drops);
    learn("a", drops.asked());
    assert_eq!(cache.get(dir, &name("a")), None, "without a lease");
    cache.leased(dir, drops.asked(), &drops);
    assert_eq!(cache.get(dir, &name("a")), None);
    learn("a", drops.asked());
    assert_eq!(cache.get(dir, &name("a")), Some(Named::Absent));
    let before = drops.asked();
    drops.dropped(dir);
    cache.forget_dir(dir);
    assert_eq!(cache.get(dir, &name("a")), None);
    cache.leased(dir, before, &drops);
    learn("b", before);
    assert_eq!(cache.get(dir, &name("b")), None, "the answer was on its way when the lease ended");
    cache.leased(dir, drops.asked(), &drops);
    learn("c", drops.asked());
    assert_eq!(cache.get(dir, &name("a")), None, "what was learnt under the last lease is not right under the next");
    cache.changed(dir, name("d"), Named::Inode(InodeId(9)), before, &drops);
    assert_eq!(cache.get(dir, &name("d")), None, "others may have changed it since");
    assert_eq!(cache.get(dir, &name("c")), Some(Named::Absent));
    cache.clear();
    assert_eq!(cache.get(dir, &name("c")), None);
}

#[test]
fn xattrs_are_believed_at_their_version_only() {
    let cache = XattrCache::new(100);
    let acl = name("system.posix_acl_access");
    cache.learn(InodeId(2), acl.clone(), None, LogIndex(5));
    assert_eq!(cache.get(InodeId(2), &acl, LogIndex(5)), Some(None));
    assert_eq!(cache.get(InodeId(2), &acl, LogIndex(6)), None);
    cache.learn(InodeId(2), acl.clone(), Some([1, 2][..].into()), LogIndex(6));
    assert_eq!(cache.get(InodeId(2), &acl, LogIndex(6)).unwrap().as_deref(), Some(&[1, 2][..]));
    cache.learn(InodeId(2), acl.clone(), None, LogIndex(5));
    assert_eq!(cache.get(InodeId(2), &acl, LogIndex(5)), None, "an older version does not come back");
}

#[test]
fn only_others_change_contents() {
    let contents = Contents::new(100);
    assert_eq!(contents.saw(&attr(2, 1, 0)), Change::FirstSeen);
    contents.wrote(&attr(2, 5, 100));
    assert_eq!(contents.saw(&attr(2, 5, 100)), Change::None);
    assert_eq!(contents.saw(&attr(2, 3, 7)), Change::None, "an old answer says nothing");
    let chmod = Attr { changed_at: LogIndex(6), ..attr(2, 5, 100) };
    assert_eq!(contents.saw(&chmod), Change::None);
    assert_eq!(contents.saw(&attr(2, 7, 100)), Change::Changed);
    contents.forget(InodeId(2));
    assert_eq!(contents.saw(&attr(2, 7, 100)), Change::FirstSeen);
}

#[test]
fn capacity_is_a_limit() {
    let cache = ShardedLru::new(64);
    for i in 0..10_000 {
        cache.put(i, i);
    }
    assert!(cache.len() <= 64);
}
