use cairn_proto::ids::InodeId;

use super::*;

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);
const NOW: Moment = Moment::from_secs(1000);
const SOON: Duration = Duration::from_millis(20);
const BASE: u64 = 1 << 40;

fn recall(n: u64) -> Event {
    Event::Recall { inode: InodeId(n) }
}

fn queues() -> EventQueues {
    let queues = EventQueues::new(BASE);
    queues.admit(A);
    queues.admit(B);
    queues
}

async fn poll(queues: &EventQueues, seen: u64) -> Events {
    queues.wait(A, seen, NOW, SOON).await.unwrap()
}

#[tokio::test]
async fn sent_until_received() {
    let queues = queues();
    queues.ask(A, recall(1)).unwrap();
    queues.ask(A, recall(2)).unwrap();
    let first = poll(&queues, 0).await;
    assert_eq!(first.events, [(BASE + 1, recall(1)), (BASE + 2, recall(2))]);
    assert_eq!(poll(&queues, 0).await, first, "an answer that was lost");
    queues.ask(A, recall(3)).unwrap();
    let second = poll(&queues, first.seen).await;
    assert_eq!(second.events, [(BASE + 3, recall(3))]);
    let none = poll(&queues, second.seen).await;
    assert_eq!(none, Events { seen: second.seen, events: vec![] });
    queues.ask(A, recall(4)).unwrap();
    assert_eq!(poll(&queues, none.seen).await.events, [(BASE + 4, recall(4))]);
    assert!(queues.wait(B, 0, NOW, SOON).await.unwrap().events.is_empty());
}

#[tokio::test]
async fn a_number_from_elsewhere_acknowledges_nothing() {
    let queues = queues();
    queues.ask(A, recall(1)).unwrap();
    let first = poll(&queues, 0).await;
    for foreign in [7, BASE, first.seen + 1, u64::MAX] {
        assert_eq!(poll(&queues, foreign).await, first, "{foreign}");
    }
    assert_eq!(poll(&queues, first.seen).await.events, []);
    assert_eq!(poll(&queues, first.seen - 1).await.events, [], "late");
}

#[tokio::test]
async fn acted_upon_in_any_order() {
    let queues = queues();
    let [first, second] = [1, 2].map(|n| queues.ask(A, recall(n)).unwrap());
    assert_eq!(queues.acted(A, &[second, 7]), [recall(2)]);
    assert_eq!(queues.acted(A, &[second]), []);
    assert_eq!(poll(&queues, 0).await.events, [(first, recall(1))]);
    queues.until_acted(A, second).await;
    let both = async { tokio::join!(queues.until_acted(A, first), async { queues.acted(A, &[first]) }) };
    tokio::time::timeout(Duration::from_secs(5), both).await.unwrap();
}

#[tokio::test]
async fn asked_once_until_acted_upon() {
    let queues = queues();
    let number = queues.ask(A, recall(1));
    assert_eq!(queues.ask(A, recall(1)), number);
    let first = poll(&queues, 0).await;
    assert_eq!(queues.ask(A, recall(1)), number, "it is being acted upon");
    poll(&queues, first.seen).await;
    assert_eq!(queues.ask(A, recall(1)), number, "received is not acted upon");
    queues.acted(A, &[number.unwrap()]);
    assert_ne!(queues.ask(A, recall(1)), number);
    assert_eq!(poll(&queues, first.seen).await.events, [(BASE + 2, recall(1))]);
}

#[tokio::test]
async fn a_flush_under_way_is_not_enough() {
    let queues = queues();
    let first = queues.ask(A, Event::Flush);
    assert_eq!(queues.ask(A, Event::Flush), first);
    poll(&queues, 0).await;
    let second = queues.ask(A, Event::Flush);
    assert_ne!(second, first);
    assert_eq!(queues.ask(A, Event::Flush), second);
}

#[tokio::test]
async fn only_so_many_wait() {
    let queues = queues();
    for n in 0..MAX_PENDING as u64 {
        assert!(queues.ask(A, recall(n)).is_some());
    }
    assert_eq!(queues.ask(A, recall(u64::MAX)), None);
    assert_eq!(queues.ask(A, recall(0)), Some(BASE + 1));
    queues.acted(A, &[BASE + 5]);
    assert!(queues.ask(A, recall(u64::MAX)).is_some());
    assert_eq!(queues.ask(SessionId(3), recall(1)), None);
}

#[tokio::test]
async fn a_poll_ends_with_an_event() {
    let queues = Arc::new(queues());
    let waiting = tokio::spawn({
        let queues = queues.clone();
        async move { queues.wait(A, 0, NOW, Duration::from_secs(60)).await }
    });
    tokio::time::sleep(SOON).await;
    queues.ask(B, recall(1)).unwrap();
    queues.ask(A, recall(2)).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().events, [(BASE + 1, recall(2))]);
}

#[tokio::test]
async fn the_end_of_a_session_ends_what_waits() {
    let queues = Arc::new(queues());
    let number = queues.ask(A, Event::Flush).unwrap();
    queues.acted(A, &[number]);
    queues.until_acted(A, number).await;
    let number = queues.ask(B, Event::Flush).unwrap();
    let polls = tokio::spawn({
        let queues = queues.clone();
        async move { queues.wait(A, 0, NOW, Duration::from_secs(60)).await }
    });
    let acts = tokio::spawn({
        let queues = queues.clone();
        async move { queues.until_acted(B, number).await }
    });
    tokio::time::sleep(SOON).await;
    assert!(!polls.is_finished() && !acts.is_finished());
    queues.drop_session(A);
    queues.drop_session(B);
    assert_eq!(polls.await.unwrap(), Err(FsError::SessionUnknown(A)));
    acts.await.unwrap();
    assert_eq!(queues.wait(A, 0, NOW, SOON).await, Err(FsError::SessionUnknown(A)));
}

#[tokio::test]
async fn all_who_listen_are_asked() {
    let queues = queues();
    poll(&queues, 0).await;
    assert_eq!(queues.ask_all(Event::Flush, NOW), [(A, BASE + 1)]);
    assert_eq!(queues.ask_all(Event::Flush, NOW + SOON), []);
}
