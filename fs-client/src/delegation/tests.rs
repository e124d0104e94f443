//! The rules, the table and the journal, without a metaserver.

use cairn_proto::attr::{Attr, Credentials, FileKind, S_ISGID, S_ISUID, SetAttr, SetTime};
use cairn_proto::error::FsError;
use cairn_proto::ids::{DirCookie, InodeId, LogIndex};
use cairn_proto::meta::{Delegation, DirEntry, Mutation, NewNode, RenameMode};
use cairn_proto::name::Name;
use cairn_proto::policy::{Durability, PlacementId, Policy};
use cairn_proto::time::Timestamp;

use super::journal::Journal;
use super::table::{Found, Table};
use crate::meta::NewEntry;

const DIR: InodeId = InodeId(10);
const OTHER: InodeId = InodeId(11);
const POLICY: Policy = Policy { copies: 2, durability: Durability::Fsync, placement: PlacementId::ANYWHERE };

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn at(secs: i64) -> Timestamp {
    Timestamp { secs, nanos: 0 }
}

fn attr(inode: InodeId, kind: FileKind, mode: u32) -> Attr {
    Attr {
        inode,
        kind,
        mode,
        nlink: if kind == FileKind::Directory { 2 } else { 1 },
        uid: 1,
        gid: 2,
        rdev: 0,
        size: 0,
        allocated: 0,
        atime: at(1),
        mtime: at(1),
        ctime: at(1),
        btime: at(1),
        has_xattrs: false,
        changed_at: LogIndex(5),
    }
}

fn hold(table: &mut Table, dir: Attr, entries: Vec<DirEntry>) {
    let inode = dir.inode;
    assert!(table.begin_loading(inode));
    assert!(table.load(inode, entries));
    assert!(table.loaded(Delegation { attr: dir, policy: POLICY, parent: InodeId::ROOT }, false));
}

fn held() -> Table {
    let mut table = Table::default();
    hold(&mut table, attr(DIR, FileKind::Directory, 0o755), Vec::new());
    table
}

fn listed(text: &str, attr: Attr) -> DirEntry {
    let Attr { inode, kind, .. } = attr;
    DirEntry { name: name(text), inode, kind, cookie: DirCookie(1), attr: Some(attr), leased: false }
}

fn new(parent: InodeId, text: &str, node: NewNode) -> NewEntry {
    NewEntry {
        parent,
        name: name(text),
        node,
        mode: 0o6666,
        umask: 0o022,
        owner: Credentials { uid: 7, gid: 8 },
        exclusive: true,
        open: false,
    }
}

fn create(table: &mut Table, parent: InodeId, text: &str, node: NewNode, inode: u64) -> Attr {
    let new = new(parent, text, node);
    assert_eq!(table.may_create(&new), Some(Ok(())));
    table.create(&new, InodeId(inode), at(20)).unwrap().0
}

#[test]
fn what_is_created_is_there_and_its_directory_has_changed() {
    let mut table = held();
    let file = create(&mut table, DIR, "a", NewNode::File, 20);
    assert_eq!((file.mode, file.uid, file.gid, file.nlink), (0o6644, 7, 8, 1));
    assert_eq!(table.find(DIR, &name("a")), Some(Found::Inode(InodeId(20), Some(file))));
    assert_eq!(table.find(DIR, &name("b")), Some(Found::Absent));
    assert_eq!(table.attr(DIR).unwrap().mtime, at(20));
    assert_eq!(table.may_create(&new(DIR, "a", NewNode::File)), Some(Err(FsError::Exists)));
    let open = NewEntry { exclusive: false, ..new(DIR, "a", NewNode::File) };
    assert_eq!(table.may_create(&open), None, "whether it may be opened is not decided here");
}

#[test]
fn a_directory_counts_in_its_parent_and_is_held_from_the_start() {
    let mut table = held();
    let made = create(&mut table, DIR, "d", NewNode::Directory, 20);
    assert_eq!((made.nlink, table.attr(DIR).unwrap().nlink), (2, 3));
    create(&mut table, InodeId(20), "f", NewNode::File, 21);
    assert_eq!(table.rmdir(DIR, &name("d"), at(30)), Some(Err(FsError::NotEmpty)));
    table.unlink(InodeId(20), &name("f"), at(30)).unwrap().unwrap();
    let (removed, parent) = table.rmdir(DIR, &name("d"), at(31)).unwrap().unwrap();
    assert_eq!((removed.nlink, parent.nlink, parent.mtime), (0, 2, at(31)));
    assert_eq!(table.may_create(&new(InodeId(20), "g", NewNode::File)), None, "it is gone");
}

#[test]
fn setgid_directories_pass_their_group_on() {
    let mut table = Table::default();
    hold(&mut table, attr(DIR, FileKind::Directory, 0o755 | S_ISGID), Vec::new());
    let file = create(&mut table, DIR, "f", NewNode::File, 20);
    let dir = create(&mut table, DIR, "d", NewNode::Directory, 21);
    assert_eq!((file.gid, dir.gid, dir.mode & S_ISGID), (2, 2, S_ISGID));
}

#[test]
fn where_an_acl_may_decide_the_metaserver_does() {
    let mut table = Table::default();
    let dir = Attr { has_xattrs: true, ..attr(DIR, FileKind::Directory, 0o755) };
    hold(&mut table, dir, Vec::new());
    assert_eq!(table.may_create(&new(DIR, "a", NewNode::File)), None);
}

#[test]
fn a_file_with_two_names_is_nobodys_alone() {
    let mut table = Table::default();
    let linked = Attr { nlink: 2, ..attr(InodeId(20), FileKind::File, 0o644) };
    hold(&mut table, attr(DIR, FileKind::Directory, 0o755), vec![listed("l", linked)]);
    assert_eq!(table.find(DIR, &name("l")), Some(Found::Inode(InodeId(20), None)));
    assert_eq!(table.unlink(DIR, &name("l"), at(9)), None);
    assert_eq!(table.rename((DIR, &name("l")), (DIR, &name("m")), RenameMode::Replace, at(9)), None);
    assert_eq!(table.set_attr(InodeId(20), &SetAttr::default(), at(9)), None);
}

#[test]
fn renaming_replaces_and_moves() {
    let mut table = held();
    hold(&mut table, attr(OTHER, FileKind::Directory, 0o755), Vec::new());
    create(&mut table, DIR, "a", NewNode::File, 20);
    create(&mut table, OTHER, "b", NewNode::File, 21);
    let no_replace = table.rename((DIR, &name("a")), (OTHER, &name("b")), RenameMode::NoReplace, at(30));
    assert_eq!(no_replace, Some(Err(FsError::Exists)));
    let moved = table.rename((DIR, &name("a")), (OTHER, &name("b")), RenameMode::Replace, at(30));
    let moved = moved.unwrap().unwrap().unwrap();
    assert_eq!((moved.moved.inode, moved.moved.ctime), (InodeId(20), at(30)));
    assert_eq!(moved.replaced.map(|gone| (gone.inode, gone.nlink)), Some((InodeId(21), 0)));
    assert_eq!(table.find(DIR, &name("a")), Some(Found::Absent));
    // It belongs to its new directory now.
    table.remove(OTHER);
    assert_eq!(table.attr(InodeId(20)), None);
    let same = table.rename((DIR, &name("x")), (DIR, &name("x")), RenameMode::Replace, at(31));
    assert_eq!(same, Some(Err(FsError::NotFound)));
}

#[test]
fn owners_that_change_lose_their_privileges() {
    let mut table = held();
    create(&mut table, DIR, "a", NewNode::File, 20);
    let set = SetAttr { mode: Some(0o4755), mtime: Some(SetTime::At(at(3))), ..SetAttr::default() };
    let (changed, home) = table.set_attr(InodeId(20), &set, at(40)).unwrap();
    assert_eq!((changed.mode, changed.mtime, changed.ctime, home), (0o4755, at(3), at(40), DIR));
    let set = SetAttr { uid: Some(9), ..SetAttr::default() };
    let (changed, _) = table.set_attr(InodeId(20), &set, at(41)).unwrap();
    assert_eq!((changed.uid, changed.mode & S_ISUID), (9, 0));
    assert_eq!(table.set_attr(InodeId(20), &SetAttr { size: Some(1), ..SetAttr::default() }, at(42)), None);
}

#[test]
fn nothing_is_done_here_to_what_the_metaserver_is_asked_about() {
    let mut table = held();
    create(&mut table, DIR, "a", NewNode::File, 20);
    table.begin_asking(DIR);
    assert_eq!(table.unlink(DIR, &name("a"), at(9)), None);
    assert!(table.find(DIR, &name("a")).is_some(), "looking is free");
    table.end_asking(DIR);
    table.begin_asking(InodeId(20));
    assert_eq!(table.unlink(DIR, &name("a"), at(9)), None);
    assert_eq!(table.set_attr(InodeId(20), &SetAttr::default(), at(9)), None);
    table.end_asking(InodeId(20));
    assert!(table.unlink(DIR, &name("a"), at(9)).is_some());
}

#[test]
fn what_changes_while_a_directory_is_loaded_counts() {
    let mut table = Table::default();
    assert!(table.begin_loading(DIR));
    assert!(!table.begin_loading(DIR), "once is enough");
    table.leave(DIR, &name("gone"));
    table.enter(DIR, name("new"), &attr(InodeId(21), FileKind::File, 0o600));
    let old = |text: &str, inode| listed(text, attr(InodeId(inode), FileKind::File, 0o644));
    assert!(table.load(DIR, vec![old("gone", 20), old("new", 19), old("stays", 22)]));
    let dir = attr(DIR, FileKind::Directory, 0o755);
    assert!(table.loaded(Delegation { attr: dir, policy: POLICY, parent: InodeId::ROOT }, false));
    assert_eq!(table.find(DIR, &name("gone")), Some(Found::Absent));
    assert!(matches!(table.find(DIR, &name("new")), Some(Found::Inode(InodeId(21), Some(_)))));
    assert!(matches!(table.find(DIR, &name("stays")), Some(Found::Inode(InodeId(22), Some(_)))));
}

#[test]
fn a_directory_that_is_recalled_is_not_used_any_more() {
    let mut table = held();
    create(&mut table, DIR, "a", NewNode::File, 20);
    table.begin_leaving(DIR);
    assert_eq!(table.find(DIR, &name("a")), None);
    assert_eq!(table.unlink(DIR, &name("a"), at(9)), None);
    table.remove(DIR);
    assert_eq!((table.attr(InodeId(20)), table.entries()), (None, 0));

    assert!(table.begin_loading(OTHER));
    table.begin_leaving(OTHER);
    assert!(!table.load(OTHER, Vec::new()), "recalled before it was known");
}

#[test]
fn older_answers_do_not_undo_newer_ones() {
    let mut table = held();
    let file = create(&mut table, DIR, "a", NewNode::File, 20);
    // A commit is answered while a change of the mode is under way: its size counts, its mode is old.
    table.set_attr(InodeId(20), &SetAttr { mode: Some(0o600), ..SetAttr::default() }, at(30)).unwrap();
    table.learn(&Attr { size: 100, changed_at: LogIndex(9), ..file.clone() }, true);
    let merged = table.attr(InodeId(20)).unwrap();
    assert_eq!((merged.size, merged.mode), (100, 0o600));
    // The change of the mode turns out to have been done before that commit: nobody knows all of it now.
    table.learn(&Attr { mode: 0o600, changed_at: LogIndex(8), ..file }, false);
    assert_eq!(table.attr(InodeId(20)), None);
}

#[test]
fn what_was_heard_while_a_directory_was_loaded_is_not_taken_back_by_what_was_read_before() {
    let mut table = Table::default();
    let of =
        |inode, changed_at| Attr { changed_at: LogIndex(changed_at), ..attr(InodeId(inode), FileKind::File, 0o644) };
    let dir = attr(DIR, FileKind::Directory, 0o755);
    assert!(table.begin_loading(DIR));
    // Answers to operations that were under way.
    let changed = Attr { mode: 0o600, ..of(20, 9) };
    let linked = Attr { nlink: 2, ..of(21, 9) };
    let grown = Attr { nlink: 3, changed_at: LogIndex(9), ..dir.clone() };
    for heard in [&changed, &linked, &grown, &of(22, 4)] {
        table.learn(heard, false);
    }
    table.learn(&of(20, 8), false);
    // What was read before them arrives.
    assert!(table.load(DIR, vec![listed("a", of(20, 7)), listed("b", of(21, 7)), listed("c", of(22, 7))]));
    assert!(table.loaded(Delegation { attr: dir.clone(), policy: POLICY, parent: InodeId::ROOT }, false));
    assert_eq!(table.attr(InodeId(20)), Some(&changed));
    assert_eq!(table.attr(InodeId(21)), None, "it has another name");
    assert_eq!(table.attr(InodeId(22)), Some(&of(22, 7)));
    assert_eq!(table.attr(DIR), Some(&grown));
    // Nothing is kept of it for later.
    table.remove(DIR);
    table.learn(&changed, false);
    hold(&mut table, dir, vec![listed("a", of(20, 7))]);
    assert_eq!(table.attr(InodeId(20)), Some(&of(20, 7)));
}

#[test]
fn the_journal_knows_what_is_pending() {
    let mut journal = Journal::default();
    let unlink = || Mutation::Unlink { parent: DIR, name: name("a") };
    journal.push(unlink(), at(1), None, vec![DIR, InodeId(20)]);
    journal.push(unlink(), at(2), None, vec![DIR, InodeId(21)]);
    let target = journal.done();
    let sent = journal.take(10);
    assert_eq!(sent.iter().map(|done| done.ahead.position).collect::<Vec<_>>(), [1, 2]);
    journal.answered(&sent[0]);
    assert!(journal.is_pending(DIR) && !journal.is_pending(InodeId(20)) && !journal.has_reached(target));
    journal.answered(&sent[1]);
    assert!(!journal.is_pending(DIR) && journal.has_reached(target) && journal.is_idle());
    journal.push(unlink(), at(3), None, vec![DIR]);
    assert_eq!(journal.lose(), (1, vec![DIR]));
    assert!(journal.is_idle() && !journal.is_pending(DIR));
    journal.push(unlink(), at(4), None, vec![DIR]);
    assert_eq!(journal.take(1)[0].ahead.position, 1, "a new session counts anew");
}

#[test]
fn creations_beside_a_file_that_was_waited_for_are_sent_at_once_for_a_while() {
    let mut table = held();
    let file = attr(InodeId(20), FileKind::File, 0o644);
    table.enter(DIR, name("a"), &file);
    assert!(!table.is_hasty(DIR));
    table.waited_for(file.inode);
    assert!(!table.is_hasty(OTHER));
    assert_eq!((0..100).filter(|_| table.is_hasty(DIR)).count(), 8);
    table.waited_for(InodeId(99));
    assert!(!table.is_hasty(DIR));
}
