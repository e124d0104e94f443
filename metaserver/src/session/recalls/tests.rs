use cairn_proto::ids::SessionId;
use cairn_proto::meta::{ClientInfo, Events, Mutation};

use super::*;
use crate::command::{Command, Decided, Origin};
use crate::namespace::Reply;
use crate::testing::World;

const ROOT: InodeId = InodeId::ROOT;

/// A world whose one session has the root.
async fn delegated() -> World {
    let world = World::new(0, 1).await;
    let take = Mutation::TakeDelegation { inode: ROOT, max_entries: 9 };
    assert!(matches!(world.mutate(take, Decided::Nothing).await, Reply::Delegated(Some(_))));
    world
}

/// The events without their numbers.
fn plain(events: &Events) -> Vec<Event> {
    events.events.iter().map(|(_, event)| event.clone()).collect()
}

async fn return_root(world: &World) {
    world.mutate(Mutation::ReturnDelegation { inode: ROOT }, Decided::Nothing).await;
    world.clients.recalls.ended();
}

/// What `TakeDelegation` of another session would be told by the state machine.
async fn is_free(world: &World) -> bool {
    world.state.read(|read| query::delegated_to(read, ROOT)).unwrap().is_none()
}

#[tokio::test]
async fn waits_until_it_is_returned() {
    let world = delegated().await;
    let holder = async {
        let events = world.clients.events(world.session, 0).await.unwrap();
        assert_eq!(plain(&events), [Event::Recall { inode: ROOT }]);
        assert!(!is_free(&world).await);
        return_root(&world).await;
    };
    let mut patience = Patience::default();
    let (recalled, ()) = tokio::join!(world.clients.recall(ROOT, &mut patience), holder);
    assert_eq!(recalled, Ok(()));
    let now = world.clients.now();
    assert!(world.clients.recalls.is_resting(ROOT, now) && !world.clients.recalls.is_resting(InodeId(2), now));
    assert!(!world.clients.recalls.is_resting(ROOT, now + REST));
}

#[tokio::test]
async fn nobody_waits_for_what_nobody_has() {
    let world = World::new(0, 1).await;
    assert_eq!(world.clients.recall(ROOT, &mut Patience::default()).await, Ok(()));
    assert!(!world.clients.recalls.is_resting(ROOT, world.clients.now()));
}

#[tokio::test]
async fn the_end_of_its_session_is_as_good() {
    let world = delegated().await;
    let mut patience = Patience::default();
    let recall = world.clients.recall(ROOT, &mut patience);
    let (recalled, closed) = tokio::join!(recall, world.clients.close(world.session));
    assert_eq!((recalled, closed), (Ok(()), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn patience_ends() {
    let world = delegated().await;
    let mut patience = Patience::default();
    assert_eq!(world.clients.recall(ROOT, &mut patience).await, Err(FsError::Delegated(ROOT)));
    assert_eq!(world.clients.recall(ROOT, &mut patience).await, Err(FsError::Delegated(ROOT)));
    return_root(&world).await;
    assert_eq!(world.clients.recall(ROOT, &mut patience).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn who_acts_and_keeps_it_is_asked_again() {
    let world = delegated().await;
    let holder = async {
        let first = world.clients.events(world.session, 0).await.unwrap();
        let [(number, _)] = first.events[..] else { panic!("{first:?}") };
        world.clients.acted(world.session, &[number]).unwrap();
        let again = world.clients.events(world.session, first.seen).await.unwrap();
        assert_eq!(plain(&again), [Event::Recall { inode: ROOT }]);
        return_root(&world).await;
    };
    let mut patience = Patience::default();
    let (recalled, ()) = tokio::join!(world.clients.recall(ROOT, &mut patience), holder);
    assert_eq!(recalled, Ok(()));
}

#[tokio::test]
async fn asks_again_when_it_was_returned() {
    let world = delegated().await;
    let client = ClientInfo { host: "h".into(), mountpoint: "/n".into(), pid: 2, version: "0".into() };
    let other = world.clients.open(client).await.unwrap();
    let propose = || {
        let origin = Origin { op: cairn_proto::ids::OpId { session: other, seq: 1 }, acked: 0 };
        let set = Mutation::SetAttr { inode: ROOT, set: Default::default() };
        world.state.propose(Command::mutation(origin, world.state.wall(), set, Decided::Nothing))
    };
    let holder = async {
        world.clients.events(world.session, 0).await.unwrap();
        return_root(&world).await;
    };
    let (set, ()) = tokio::join!(world.clients.recalling(propose), holder);
    assert!(matches!(set, Ok(Reply::Attr(_))), "{set:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_those_who_listen() {
    let world = World::new(0, 1).await;
    world.clients.flush_all().await;
    let seen = world.clients.events(world.session, 0).await.unwrap().seen;
    let acts = async {
        let flush = world.clients.events(world.session, seen).await.unwrap();
        let [(number, Event::Flush)] = flush.events[..] else { panic!("{flush:?}") };
        let before = Instant::now();
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.clients.acted(world.session, &[number]).unwrap();
        before
    };
    let flushes = async {
        world.clients.flush_all().await;
        Instant::now()
    };
    let (done, before) = tokio::join!(flushes, acts);
    assert_eq!(done - before, Duration::from_secs(1));
    // Nobody answers any more; administrators are not kept for ever.
    let before = Instant::now();
    world.clients.flush_all().await;
    assert_eq!(before.elapsed(), LIMIT);
    let unknown = SessionId(77);
    assert_eq!(world.clients.events(unknown, 0).await, Err(FsError::SessionUnknown(unknown)));
}
