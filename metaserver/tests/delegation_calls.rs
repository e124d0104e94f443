//! Delegated directories, over the wire: one client works ahead, others want to see what it did. `S` is the one who has the
//! directory, `T` the one who wants it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use cairn_metaserver::{Metaserver, MetaserverConfig};
use cairn_proto::admin::PolicySet;
use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::meta::{
    Ahead, Delegation, Event, InodeRange, MAX_RESERVED_INODES, Mutation, MutationReply, NamedMutation, NewNode,
    OpenMode, ReadDir,
};
use cairn_proto::time::Timestamp;

use common::{Client, config, create, ctx, entry_of, name, start, until};

const ROOT: InodeId = InodeId::ROOT;
const THEN: Timestamp = Timestamp { secs: 1_000_000, nanos: 5 };
/// What a call waits for a delegation at most, and a little.
const PATIENCE: Duration = Duration::from_secs(6);

/// `S` has the directory `d`, and numbers to make files with.
struct Delegated {
    server: Metaserver,
    s: Client,
    t: Client,
    d: InodeId,
    numbers: InodeRange,
    /// Of what `S` did last.
    position: u64,
}

fn config_with_term(dir: &Path, session_term_s: u64) -> MetaserverConfig {
    MetaserverConfig { session_term_s, ..config(dir) }
}

async fn delegated(dir: &Path, term_s: u64) -> Delegated {
    let server = start(config_with_term(dir, term_s)).await;
    let mut s = Client::connect(server.endpoint()).await;
    let t = Client::connect(server.endpoint()).await;
    t.attend();
    let d = entry_of(s.mutate(create(ROOT, "d", NewNode::Directory, false)).await.unwrap());
    assert_eq!(take(&mut s, d).await.unwrap().parent, ROOT);
    let numbers = s.meta.reserve_inodes(ctx(), s.session, 100).await.unwrap().unwrap();
    Delegated { server, s, t, d, numbers, position: 0 }
}

async fn take(client: &mut Client, inode: InodeId) -> Option<Delegation> {
    match client.mutate(Mutation::TakeDelegation { inode, max_entries: 1000 }).await.unwrap() {
        MutationReply::Delegated(delegation) => delegation,
        other => panic!("{other:?}"),
    }
}

impl Delegated {
    /// The nth number of those that are reserved.
    fn number(&self, n: u64) -> InodeId {
        assert!(n < u64::from(self.numbers.count));
        InodeId(self.numbers.first.0 + n)
    }

    /// `S` has made something under its nth number.
    fn made(&mut self, parent: InodeId, entry: &str, node: NewNode, n: u64) -> NamedMutation {
        let inode = Some(self.number(n));
        self.did(create(parent, entry, node, false), THEN, inode)
    }

    fn did(&mut self, mutation: Mutation, at: Timestamp, inode: Option<InodeId>) -> NamedMutation {
        self.position += 1;
        let ahead = Ahead { position: self.position, at, inode };
        self.s.name_ahead(mutation, Some(ahead))
    }

    fn returned(&mut self, inode: InodeId) -> NamedMutation {
        self.s.name_op(Mutation::ReturnDelegation { inode })
    }

    /// Waits for a recall of the directory, then sends what was done, and that it is returned.
    async fn answer_recall(&self, mut done: Vec<NamedMutation>, returned: NamedMutation) {
        self.expect(0, Event::Recall { inode: self.d }).await;
        done.push(returned);
        let results = self.s.send(done).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        self.s.attend();
    }

    async fn expect(&self, seen: u64, event: Event) -> u64 {
        expect(&self.s, seen, event).await
    }
}

/// Waits until a client is asked for `event`, and answers its number. It drops leases as it is told.
async fn expect(client: &Client, mut seen: u64, event: Event) -> u64 {
    loop {
        let events = client.meta.events(ctx(), client.session, seen).await.unwrap().unwrap();
        seen = events.seen;
        let leases = |asked: &&(u64, Event)| matches!(asked.1, Event::Drop { .. } | Event::Downgrade { .. });
        let acted = events.events.iter().filter(leases).map(|(number, _)| *number).collect();
        client.meta.acted(ctx(), client.session, acted).await.unwrap().unwrap();
        if let Some((number, _)) = events.events.into_iter().find(|(_, asked)| *asked == event) {
            return number;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_waits_and_then_sees_what_was_done_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = delegated(dir.path(), 20).await;
    let done = vec![
        w.made(w.d, "inner", NewNode::Directory, 0),
        w.made(w.number(0), "deep", NewNode::File, 1),
        w.made(w.d, "f", NewNode::File, 2),
    ];
    let returned = w.returned(w.d);
    let (seen, ()) = tokio::join!(w.t.lookup(w.d, "f"), w.answer_recall(done, returned));
    let seen = seen.unwrap();
    assert_eq!((seen.inode, seen.mtime, seen.btime), (w.number(2), THEN, THEN));

    // The directory that was made ahead was not returned with it.
    let list = ReadDir { inode: w.d, after: cairn_proto::ids::DirCookie::START, limit: 9, plus: true };
    let page = w.t.meta.read_dir(ctx(), w.t.session, list).await.unwrap().unwrap();
    let shown: Vec<_> = page.entries.iter().map(|entry| (entry.inode, entry.attr.is_some())).collect();
    assert_eq!(shown, [(w.number(0), false), (w.number(2), true)]);
    let returned = w.returned(w.number(0));
    let inner = async {
        w.expect(0, Event::Recall { inode: w.number(0) }).await;
        w.s.send(vec![returned]).await
    };
    let (deep, _) = tokio::join!(w.t.lookup(w.number(0), "deep"), inner);
    assert_eq!(deep.unwrap().inode, w.number(1));
    assert_eq!(take(&mut w.t, w.d).await, None, "it was recalled just now");
    assert_eq!(take(&mut w.s, w.d).await, None);
    w.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_waits_and_its_batch_keeps_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = delegated(dir.path(), 20).await;
    let mut ops = Vec::new();
    for n in 0..50 {
        ops.push(w.t.name_op(create(w.d, &format!("t{n}"), NewNode::File, false)));
        ops.push(w.t.name_op(Mutation::Unlink { parent: w.d, name: name(&format!("t{n}")) }));
    }
    let done = vec![w.made(w.d, "t0", NewNode::File, 0)];
    let returned = w.returned(w.d);
    let (results, ()) = tokio::join!(w.t.send(ops), w.answer_recall(done, returned));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(matches!(&results[0], Ok(MutationReply::Entry { attr, created: false, .. }) if attr.inode == w.number(0)));
    assert_eq!(w.s.lookup(w.d, "t0").await, Err(FsError::NotFound));
    w.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_is_waited_for_no_longer_than_its_term() {
    let dir = tempfile::tempdir().unwrap();
    let w = delegated(dir.path(), 2).await;
    let before = Instant::now();
    assert_eq!(w.t.lookup(w.d, "f").await, Err(FsError::NotFound));
    let waited = before.elapsed();
    assert!(waited > Duration::from_secs(1) && waited < PATIENCE, "{waited:?}");
    let gone = w.s.meta.events(ctx(), w.s.session, 0).await.unwrap();
    assert_eq!(gone, Err(FsError::SessionUnknown(w.s.session)));
    w.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_return_it_is_waited_for_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = delegated(dir.path(), 20).await;
    let before = Instant::now();
    assert_eq!(w.t.lookup(w.d, "f").await, Err(FsError::Delegated(w.d)));
    assert!(before.elapsed() < PATIENCE);
    let op = w.t.name_op(create(w.d, "t", NewNode::File, false));
    let returned = w.returned(w.d);
    assert_eq!(w.t.repeat(op.clone()).await, Err(FsError::Delegated(w.d)));
    let (created, ()) = tokio::join!(w.t.repeat(op), w.answer_recall(vec![], returned));
    assert!(created.is_ok(), "the same operation, asked for again");
    w.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegation_outlives_the_metaserver_and_so_do_the_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let w = delegated(dir.path(), 20).await;
    let Delegated { server, mut s, t, d, numbers, .. } = w;
    t.meta.close_session(ctx(), t.session).await.unwrap().unwrap();
    let seen = s.meta.events(ctx(), s.session, 0).await.unwrap().unwrap().seen;
    let polls = tokio::spawn({
        let (meta, session) = (s.meta.clone(), s.session);
        async move { meta.events(ctx(), session, seen).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = Instant::now();
    server.shutdown().await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(2), "whoever waits for events does not hold it up");
    let _ = polls.await.unwrap();

    let server = start(config_with_term(dir.path(), 20)).await;
    let mut again = Client::without_session(server.endpoint());
    again.session = again.open_session(Some(s.session), vec![]).await.unwrap();
    again.seq = s.seq;
    s = again;
    let t = Client::connect(server.endpoint()).await;
    let mut w = Delegated { server, s, t, d, numbers, position: 0 };
    let more = w.s.meta.reserve_inodes(ctx(), w.s.session, 1).await.unwrap().unwrap();
    assert!(more.first >= InodeId(numbers.first.0 + u64::from(numbers.count)));
    let done = vec![w.made(w.d, "f", NewNode::File, 99)];
    let returned = w.returned(w.d);
    let holder = async {
        // As it would be after a connection was lost: an old number is nobody's.
        w.expect(seen, Event::Recall { inode: w.d }).await;
        w.answer_recall(done, returned).await;
    };
    let (found, ()) = tokio::join!(w.t.lookup(w.d, "f"), holder);
    assert_eq!(found.unwrap().inode, w.number(99));
    w.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_see_what_was_done_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = delegated(dir.path(), 20).await;
    let seen = w.s.meta.events(ctx(), w.s.session, 0).await.unwrap().unwrap().seen;
    let done = vec![w.made(w.d, "f", NewNode::File, 0)];
    let flush = async {
        let number = w.expect(seen, Event::Flush).await;
        assert!(w.s.send(done).await[0].is_ok());
        w.s.meta.acted(ctx(), w.s.session, vec![number]).await.unwrap().unwrap();
        number
    };
    let path = vec![name("d"), name("f")];
    let (resolved, seen) = tokio::join!(w.t.admin.resolve(ctx(), path), flush);
    assert_eq!(resolved.unwrap(), Ok(w.number(0)));

    // What they change they take away first.
    let returned = w.returned(w.d);
    // Of chunkservers nothing is known here.
    let change = PolicySet { copies: Some(3), loose: Some(true), ..PolicySet::default() };
    let holder = async {
        let number = w.expect(seen, Event::Flush).await;
        w.s.meta.acted(ctx(), w.s.session, vec![number]).await.unwrap().unwrap();
        w.expect(number, Event::Recall { inode: w.d }).await;
        assert!(w.s.send(vec![returned]).await[0].is_ok());
    };
    let (policy, ()) = tokio::join!(w.t.admin.set_policy(ctx(), w.d, change, false), holder);
    assert_eq!(policy.unwrap().unwrap().policy.copies, 3);
    w.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_chosen_ahead_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = delegated(dir.path(), 20).await;
    let invalid = Err(FsError::InvalidArgument);
    let free = w.number(0);
    let beyond = InodeId(w.numbers.first.0 + u64::from(w.numbers.count));
    let never = Timestamp { secs: 0, nanos: 1_000_000_000 };
    for (at, inode) in
        [(THEN, None), (never, Some(free)), (THEN, Some(beyond)), (THEN, Some(InodeId(0))), (THEN, Some(w.d))]
    {
        for open in [true, false] {
            let op = w.did(create(w.d, "f", NewNode::File, open), at, inode);
            assert_eq!(w.s.repeat(op).await.map(entry_of), invalid, "{at:?} {inode:?}");
        }
    }
    let op = w.made(w.d, "f", NewNode::File, 0);
    assert_eq!(w.s.repeat(op).await.map(entry_of), Ok(free));
    for count in [0, MAX_RESERVED_INODES + 1] {
        assert_eq!(
            w.s.meta.reserve_inodes(ctx(), w.s.session, count).await.unwrap().map(|r| r.count),
            invalid.clone().map(|_: InodeId| 0)
        );
    }
    let stranger = SessionId(77);
    assert_eq!(w.s.meta.reserve_inodes(ctx(), stranger, 1).await.unwrap(), Err(FsError::SessionUnknown(stranger)));
    let other = w.t.meta.reserve_inodes(ctx(), w.t.session, 5).await.unwrap().unwrap();
    assert_eq!((other.first, other.count), (beyond, 5));
    // What the metaserver numbers itself is beyond all of them.
    assert!(w.t.create("t").await >= InodeId(other.first.0 + 5));
    w.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_ahead_of_something_that_has_to_wait_waits_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = delegated(dir.path(), 20).await;
    // `T` has the root, and `S` thinks that it may remove a directory there.
    let e = entry_of(w.s.mutate(create(ROOT, "e", NewNode::Directory, false)).await.unwrap());
    assert!(take(&mut w.s, e).await.is_some());
    assert!(take(&mut w.t, ROOT).await.is_some());
    let first = w.did(Mutation::Rmdir { parent: ROOT, name: name("e") }, THEN, None);
    let second = w.made(w.d, "f", NewNode::File, 0);
    assert_eq!(w.s.repeat(second.clone()).await, Err(FsError::NotReady));
    let returned = w.t.name_op(Mutation::ReturnDelegation { inode: ROOT });
    let t = async {
        expect(&w.t, 0, Event::Recall { inode: ROOT }).await;
        w.t.send(vec![returned]).await
    };
    let (results, _) = tokio::join!(w.s.send(vec![first, second]), t);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    w.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_made_ahead_is_held_open_as_often_as_it_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = delegated(dir.path(), 2).await;
    // Sessions from before the start would have this long to show themselves.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for client in [&w.s, &w.t] {
            client.meta.keep_alive(ctx(), client.session).await.unwrap().unwrap();
        }
    }
    let file = w.number(0);
    let op = w.did(create(w.d, "f", NewNode::File, true), THEN, Some(file));
    assert_eq!(entry_of(w.s.repeat(op.clone()).await.unwrap()), file);
    assert_eq!(entry_of(w.s.repeat(op).await.unwrap()), file, "a retry");
    let mode = OpenMode { read: true, write: false };
    w.s.meta.open(ctx(), w.s.session, file, mode).await.unwrap().unwrap();
    w.s.mutate(Mutation::Unlink { parent: w.d, name: name("f") }).await.unwrap();
    w.s.meta.release(ctx(), w.s.session, vec![file]).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    // Without a name it is nobody's: others see it, too.
    assert!(w.t.meta.get_attr(ctx(), w.t.session, file).await.unwrap().is_ok());
    w.s.meta.release(ctx(), w.s.session, vec![file]).await.unwrap().unwrap();
    until("reaping what was released", async || {
        w.s.meta.keep_alive(ctx(), w.s.session).await.unwrap().unwrap();
        w.t.meta.get_attr(ctx(), w.t.session, file).await.unwrap() == Err(FsError::Stale(file))
    })
    .await;
    w.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_and_locating_wait_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = delegated(dir.path(), 20).await;
    let file = entry_of(w.s.mutate(create(w.d, "f", NewNode::File, false)).await.unwrap());
    let mode = OpenMode { read: true, write: true };
    let returned = w.returned(w.d);
    let open = w.t.meta.open(ctx(), w.t.session, file, mode);
    let (opened, ()) = tokio::join!(open, w.answer_recall(vec![], returned));
    assert_eq!(opened.unwrap().unwrap().attr.inode, file);
    // One open, however often it was tried.
    w.t.mutate(Mutation::Unlink { parent: w.d, name: name("f") }).await.unwrap();
    w.t.meta.release(ctx(), w.t.session, vec![file]).await.unwrap().unwrap();
    let located = w.t.meta.locate(ctx(), w.t.session, file, cairn_proto::ids::ChunkIndex(0), 1).await.unwrap();
    assert!(matches!(located, Ok(chunks) if chunks.is_empty()));
    w.server.shutdown().await.unwrap();
}
