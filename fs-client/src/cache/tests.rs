use std::time::{Duration, UNIX_EPOCH};

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::ids::{InodeId, LogIndex};
use cairn_proto::meta::ChangedDir;
use cairn_proto::name::Name;
use cairn_proto::time::Timestamp;
use cairn_runtime::clock::ManualClock;

use super::*;

const TTL: Duration = Duration::from_secs(1);

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
fn attributes_expire_from_the_moment_they_were_asked_for() {
    let (clock, cache) = (ManualClock::new(UNIX_EPOCH), AttrCache::new(100, TTL));
    let asked = Moment::now(&clock);
    clock.advance(Duration::from_millis(400));
    cache.learn(&attr(2, 1, 0), asked);
    assert_eq!(cache.get(InodeId(2), Moment::now(&clock)).unwrap().remaining, Duration::from_millis(600));
    clock.advance(Duration::from_millis(600));
    assert!(cache.get(InodeId(2), Moment::now(&clock)).is_none());
    assert_eq!(cache.last_seen(InodeId(2)).unwrap().changed_at, LogIndex(1));
}

#[test]
fn a_late_answer_never_replaces_a_newer_one() {
    let (clock, cache) = (ManualClock::new(UNIX_EPOCH), AttrCache::new(100, TTL));
    assert_eq!(cache.learn(&attr(2, 9, 50), Moment::now(&clock)), Learned::Newest);
    assert_eq!(cache.learn(&attr(2, 8, 10), Moment::now(&clock)), Learned::Outdated);
    assert_eq!(cache.get(InodeId(2), Moment::now(&clock)).unwrap().value.size, 50);
    cache.doubt(InodeId(2));
    assert!(cache.get(InodeId(2), Moment::now(&clock)).is_none());
    assert_eq!(
        cache.learn(&attr(2, 8, 10), Moment::now(&clock)),
        Learned::Outdated,
        "doubted, yet still the newest seen"
    );
}

#[test]
fn a_lookup_overtaken_by_a_mutation_is_not_remembered() {
    let (clock, cache) = (ManualClock::new(UNIX_EPOCH), NameCache::new(100, TTL));
    let (dir, file) = (InodeId(1), InodeId(7));
    let (asked, epoch) = (Moment::now(&clock), cache.epoch(dir));
    cache.changed(dir, name("a"), Named::Inode(file), Moment::now(&clock));
    cache.learn(dir, name("a"), Named::Absent, asked, epoch);
    assert_eq!(cache.get(dir, &name("a"), Moment::now(&clock)).unwrap().value, Named::Inode(file));

    cache.learn(dir, name("b"), Named::Absent, Moment::now(&clock), cache.epoch(dir));
    assert_eq!(cache.get(dir, &name("b"), Moment::now(&clock)).unwrap().value, Named::Absent);
    clock.advance(TTL);
    assert!(cache.get(dir, &name("b"), Moment::now(&clock)).is_none());
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

fn dir(inode: u64, changed_at: u64) -> Attr {
    Attr { kind: FileKind::Directory, ..attr(inode, changed_at, 0) }
}

/// A change of directory 7 from one version to another.
fn change(before: u64, after: u64) -> ChangedDir {
    ChangedDir { attr: dir(7, after), before: LogIndex(before) }
}

#[test]
fn names_stay_right_as_long_as_nobody_else_changes_their_directory() {
    let (clock, cache) = (ManualClock::new(UNIX_EPOCH), NameCache::new(1000, TTL));
    let now = || Moment::now(&clock);
    let parent = InodeId(7);
    cache.made_dir(&dir(7, 1), now(), now());
    assert_eq!(cache.get(parent, &name("a"), now()).unwrap().value, Named::Absent, "a new directory is empty");
    for version in 1..5 {
        clock.advance(Duration::from_millis(800));
        let entered = name(&version.to_string());
        cache.changed(parent, entered.clone(), Named::Inode(InodeId(100 + version)), now());
        cache.changed_dir(&change(version, version + 1), now());
    }
    clock.advance(Duration::from_millis(900));
    let first = cache.get(parent, &name("1"), now()).unwrap();
    assert_eq!((first.value, first.remaining), (Named::Inode(InodeId(101)), Duration::from_millis(100)));
    assert_eq!(cache.get(parent, &name("a"), now()).unwrap().value, Named::Absent);
    clock.advance(Duration::from_millis(100));
    assert_eq!(cache.get(parent, &name("1"), now()), None, "nobody has been asked for a while");
    cache.saw_dir(&dir(7, 5), now(), now());
    assert_eq!(cache.get(parent, &name("1"), now()).unwrap().remaining, TTL, "it is still as it was");
    // Somebody else has changed it, as the answer to our own change shows.
    cache.changed(parent, name("6"), Named::Absent, now());
    cache.changed_dir(&change(6, 7), now());
    assert_eq!(cache.get(parent, &name("1"), now()), None);
    assert_eq!(cache.get(parent, &name("a"), now()), None);
}

#[test]
fn names_from_before_somebody_elses_change_expire_by_themselves() {
    let (clock, cache) = (ManualClock::new(UNIX_EPOCH), NameCache::new(1000, TTL));
    let now = || Moment::now(&clock);
    let parent = InodeId(7);
    cache.saw_dir(&dir(7, 1), now(), now());
    cache.learn(parent, name("old"), Named::Inode(InodeId(8)), now(), cache.epoch(parent));
    clock.advance(Duration::from_millis(600));
    cache.saw_dir(&dir(7, 2), now(), now());
    assert_eq!(cache.get(parent, &name("old"), now()).unwrap().remaining, Duration::from_millis(400));
    cache.learn(parent, name("new"), Named::Inode(InodeId(9)), now(), cache.epoch(parent));
    clock.advance(Duration::from_millis(600));
    cache.saw_dir(&dir(7, 2), now(), now());
    assert_eq!(cache.get(parent, &name("old"), now()), None);
    assert_eq!(cache.get(parent, &name("new"), now()).unwrap().remaining, TTL);
    assert_eq!(cache.get(parent, &name("other"), now()), None, "not all of its names are known");
}

#[test]
fn a_name_that_had_to_go_is_not_taken_for_absent() {
    let (clock, cache) = (ManualClock::new(UNIX_EPOCH), NameCache::new(64, TTL));
    let now = || Moment::now(&clock);
    let parent = InodeId(7);
    cache.made_dir(&dir(7, 0), now(), now());
    for n in 0..500 {
        cache.changed(parent, name(&n.to_string()), Named::Inode(InodeId(100 + n)), now());
        cache.changed_dir(&change(n, n + 1), now());
    }
    let believed = |n: u64| cache.get(parent, &name(&n.to_string()), now()).map(|valid| valid.value);
    assert!((0..500).all(|n| believed(n).is_none_or(|named| named == Named::Inode(InodeId(100 + n)))));
    assert!((0..500).any(|n| believed(n).is_none()));
}
