use super::*;

const S: SessionId = SessionId(1);
const T: SessionId = SessionId(2);
const DIR: InodeId = InodeId(5);
const FILE: InodeId = InodeId(6);
const OTHER: InodeId = InodeId(7);

fn leases() -> Arc<Leases> {
    let leases = Arc::new(Leases::new([], 64));
    leases.admit(S);
    leases.admit(T);
    leases
}

fn drop_of(session: SessionId, inode: InodeId) -> (SessionId, Event) {
    (session, Event::Drop { inodes: vec![inode] })
}

#[test]
fn a_change_waits_for_the_leases_of_others_that_were_there_before() {
    let leases = leases();
    for session in [S, T] {
        assert_eq!(leases.share(session, FILE, None, true), Share::Granted);
    }
    let change = leases.announce(S, Touched::only(FILE), Announced::Change);
    let InTheWay { ask, clear } = change.in_the_way();
    assert_eq!((ask.as_slice(), clear), (&[drop_of(T, FILE)][..], false));
    assert_eq!(change.in_the_way(), InTheWay { ask: vec![], clear: false }, "asked once");
    assert_eq!(leases.share(T, FILE, None, true), Share::Refused, "it may forget it after it has got the answer");
    leases.acted(T, &ask[0].1);
    assert!(change.in_the_way().clear);
    assert_eq!(leases.share(T, FILE, None, true), Share::Refused, "while it is being changed");
    assert_eq!(leases.share(S, FILE, None, true), Share::Granted, "by itself");
    drop(change);
    assert_eq!(leases.share(T, FILE, None, true), Share::Granted);
    assert_eq!(leases.len(), 2);
}

#[test]
fn what_was_not_asked_for_is_not_dropped() {
    let leases = leases();
    leases.share(T, FILE, None, true);
    leases.acted(T, &Event::Drop { inodes: vec![FILE] });
    assert_eq!(leases.of(T, FILE), Lease::Shared, "an answer to an earlier metaserver");
    let change = leases.announce(S, Touched::only(FILE), Announced::Change);
    let (session, event) = change.in_the_way().ask.pop().unwrap();
    leases.not_asked(session, &event);
    assert_eq!(change.in_the_way().ask, [drop_of(T, FILE)], "its queue was full");
}

#[test]
fn unsent_writes_are_sent_before_others_look() {
    let leases = leases();
    leases.born(S, FILE, Lease::Exclusive);
    assert_eq!(leases.share(T, FILE, None, true), Share::Unwritten);
    assert_eq!(leases.share(S, FILE, None, true), Share::Granted);
    assert_eq!(leases.of(S, FILE), Lease::Exclusive);
    let asked = leases.to_see(Some(T), FILE);
    assert_eq!(asked.ask, [(S, Event::Downgrade { inode: FILE })]);
    assert_eq!(leases.of(S, FILE), Lease::Shared, "it is about to be");
    leases.acted(S, &asked.ask[0].1);
    assert!(leases.to_see(Some(T), FILE).clear);
    assert_eq!(leases.share(T, FILE, None, true), Share::Granted);
    assert_eq!(leases.of(S, FILE), Lease::Shared);
}

#[test]
fn exclusive_leases_go_to_who_came_first() {
    let leases = leases();
    leases.share(T, FILE, None, true);
    let first = leases.announce(S, Touched::only(FILE), Announced::Acquisition);
    let second = leases.announce(T, Touched::only(FILE), Announced::Acquisition);
    assert!(!second.acquire(FILE), "it is not its turn");
    let asked = first.in_the_way().ask;
    assert!(!first.acquire(FILE), "somebody has a lease");
    leases.acted(T, &asked[0].1);
    assert!(first.acquire(FILE));
    drop(first);
    assert!(!second.acquire(FILE));
    let asked = second.in_the_way().ask;
    assert_eq!(asked, [drop_of(S, FILE)]);
    leases.acted(S, &asked[0].1);
    let change = leases.announce(S, Touched::only(FILE), Announced::Change);
    assert!(!second.acquire(FILE), "it is being changed");
    drop(change);
    assert!(second.acquire(FILE));
    assert_eq!((leases.of(S, FILE), leases.of(T, FILE)), (Lease::None, Lease::Exclusive));
}

#[test]
fn who_waits_for_a_look_has_its_turn_before_those_who_came_later() {
    let leases = leases();
    leases.born(S, FILE, Lease::Exclusive);
    assert_eq!(leases.share(T, FILE, None, true), Share::Unwritten);
    let look = leases.announce(T, Touched::only(FILE), Announced::Look);
    let (_, event) = leases.to_see(Some(T), FILE).ask.pop().unwrap();
    leases.acted(S, &event);
    // The writer is back already.
    let again = leases.announce(S, Touched::only(FILE), Announced::Acquisition);
    assert!(again.in_the_way().clear && !again.acquire(FILE), "it is not its turn");
    assert_eq!(leases.share(T, FILE, None, true), Share::Granted);
    drop(look);
    assert_eq!(again.in_the_way().ask, [drop_of(T, FILE)]);
    leases.acted(T, &Event::Drop { inodes: vec![FILE] });
    assert!(again.acquire(FILE));
    drop(again);
    // Who came earlier has its turn first.
    leases.let_go(S, FILE);
    let first = leases.announce(S, Touched::only(FILE), Announced::Acquisition);
    let _look = leases.announce(T, Touched::only(FILE), Announced::Look);
    assert_eq!(leases.share(T, FILE, None, true), Share::Refused);
    assert!(first.acquire(FILE));
}

#[test]
fn files_of_a_directory_that_changes_hands_are_not_leased() {
    let leases = leases();
    let taking = leases.announce(S, Touched::only(DIR), Announced::Change);
    assert_eq!(leases.share(T, FILE, Some(DIR), true), Share::Refused);
    drop(taking);
    assert_eq!(leases.share(T, FILE, Some(DIR), true), Share::Granted);
    assert_eq!(leases.held_by_others(S, [DIR, FILE].into_iter()), [FILE]);
    assert!(leases.others_have_any(S) && !leases.others_have_any(T));
}

#[test]
fn sessions_from_before_a_restart_may_have_anything() {
    let leases = Arc::new(Leases::new([S, T], 64));
    let change = leases.announce(S, Touched::only(FILE), Announced::Change);
    assert_eq!(leases.share(S, FILE, None, true), Share::Unwritten);
    assert_eq!(leases.share(S, DIR, None, false), Share::Granted, "nobody has directories exclusively");
    leases.reclaim(S, &[], true);
    leases.dropped_the_rest(S);
    assert_eq!(change.in_the_way(), InTheWay { ask: vec![], clear: false });
    leases.reclaim(T, &[(FILE, Lease::Exclusive)], false);
    leases.dropped_the_rest(T);
    assert!(!leases.to_see(Some(S), OTHER).clear, "it has more to say");
    leases.reclaim(T, &[(DIR, Lease::None)], true);
    leases.dropped_the_rest(T);
    assert_eq!(change.in_the_way().ask, [drop_of(T, FILE)]);
    leases.drop_session(T);
    assert!(change.in_the_way().clear);
    assert_eq!(leases.len(), 1);
}

#[test]
fn what_was_kept_over_a_restart_can_be_read_before_the_rest_is_dropped() {
    let leases = Arc::new(Leases::new([S, T], 64));
    leases.reclaim(S, &[(FILE, Lease::Shared)], true);
    assert_eq!(leases.share(S, FILE, None, true), Share::Unwritten, "the other one may have written to it");
    leases.reclaim(T, &[(OTHER, Lease::Exclusive)], true);
    assert_eq!(leases.share(S, FILE, None, true), Share::Granted);
    assert_eq!(leases.share(S, OTHER, None, true), Share::Unwritten);
    assert_eq!(leases.to_see(Some(S), OTHER).ask, [(T, Event::Downgrade { inode: OTHER })]);
    let change = leases.announce(T, Touched::only(DIR), Announced::Change);
    assert!(!change.in_the_way().clear, "it may be remembered");
    leases.dropped_the_rest(S);
    assert!(change.in_the_way().clear);
    leases.reclaim(S, &[(OTHER, Lease::Exclusive)], true);
    assert_eq!(leases.of(S, OTHER), Lease::None, "it has said already what it has");
}

#[test]
fn what_was_kept_over_a_restart_is_kept_in_a_full_table() {
    let leases = Leases::new([S], 4);
    let kept: Vec<_> = (100..110).map(|n| (InodeId(n), Lease::Shared)).collect();
    leases.reclaim(S, &kept, true);
    assert_eq!(leases.len(), 10);
    assert_eq!(leases.share(S, FILE, None, true), Share::Refused);
}

#[test]
fn returned_leases_are_asked_for() {
    let leases = leases();
    leases.share(S, FILE, None, true);
    let event = leases.returned(S, &[FILE, DIR]);
    assert_eq!(event, Event::Drop { inodes: vec![FILE] });
    assert_eq!(leases.of(S, FILE), Lease::None);
    leases.acted(S, &event);
    assert!(leases.is_empty());
    assert_eq!(leases.inner.lock().inodes.len(), 0);
}

#[test]
fn whoever_has_most_gives_some_back_before_the_table_is_full() {
    let leases = leases();
    leases.share(S, DIR, None, false);
    for n in 100..155 {
        assert_eq!(leases.share(T, InodeId(n), None, true), Share::Granted);
    }
    assert_eq!(leases.to_make_room(), [], "56 of 64");
    leases.born(T, InodeId(99), Lease::Exclusive);
    let asked = leases.to_make_room();
    let [(T, event @ Event::Drop { inodes })] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(inodes.len(), 57 - 48, "{inodes:?}");
    leases.acted(T, event);
    assert_eq!((leases.len(), leases.to_make_room()), (48, vec![]));
    for n in 200..250 {
        leases.share(T, InodeId(n), None, true);
    }
    assert_eq!(leases.len(), 80);
    assert_eq!(leases.share(S, FILE, None, true), Share::Refused, "it is full");
}
