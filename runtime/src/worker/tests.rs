use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::shutdown::Shutdown;

/// Does what its script says, then `rest` for ever.
struct Scripted {
    script: VecDeque<Result<WorkState, &'static str>>,
    rest: WorkState,
    units: Arc<AtomicU64>,
    wake: Arc<Notify>,
}

impl Scripted {
    fn new(script: impl IntoIterator<Item = Result<WorkState, &'static str>>, rest: WorkState) -> Self {
        let script = script.into_iter().collect();
        Self { script, rest, units: Arc::default(), wake: Arc::default() }
    }
}

impl Worker for Scripted {
    fn name(&self) -> String {
        "scripted".into()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        self.units.fetch_add(1, Ordering::Relaxed);
        match self.script.pop_front() {
            Some(step) => step.map_err(Into::into),
            None => Ok(self.rest),
        }
    }

    async fn wait(&mut self) {
        self.wake.notified().await;
    }

    fn detail(&self) -> Option<String> {
        Some(format!("{} steps left", self.script.len()))
    }
}

fn workers() -> (Workers, Shutdown) {
    let shutdown = Shutdown::new();
    (Workers::new(shutdown.clone()), shutdown)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < limit, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

const BUSY: Result<WorkState, &str> = Ok(WorkState::Busy { cost: 1 });

#[tokio::test]
async fn works_waits_and_wakes() {
    let (workers, shutdown) = workers();
    let worker = Scripted::new([BUSY, BUSY, Ok(WorkState::Wait(Duration::from_millis(10)))], WorkState::Idle);
    let (units, wake) = (worker.units.clone(), worker.wake.clone());
    workers.spawn(worker, Pace::Unlimited).unwrap();
    let waiting = || workers.list()[0].activity == Activity::Waiting && units.load(Ordering::Relaxed) == 4;
    until("three units, a pause, and one more", waiting).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(units.load(Ordering::Relaxed), 4, "an idle worker works again only when woken");
    wake.notify_one();
    until("woken", || units.load(Ordering::Relaxed) == 5).await;

    let status = workers.list().remove(0);
    assert_eq!((status.name.as_str(), status.errors, status.per_second), ("scripted", 0, None));
    assert_eq!(status.detail.as_deref(), Some("0 steps left"));
    // The wait is interrupted.
    shutdown.finish(Duration::from_secs(5)).await.unwrap();
    assert_eq!(workers.list()[0].activity, Activity::Ended);
}

#[tokio::test]
async fn tries_again_after_errors() {
    let (workers, shutdown) = workers();
    workers.spawn(Scripted::new([Err("first"), Err("second"), BUSY], WorkState::Idle), Pace::Unlimited).unwrap();
    until("failing", || workers.list()[0].activity == Activity::Failing).await;
    assert!(workers.list()[0].errors_in_a_row > 0);
    until("recovered", || workers.list()[0].units == 2).await;
    let status = workers.list().remove(0);
    assert_eq!((status.errors, status.errors_in_a_row, status.last_error.as_deref()), (2, 0, Some("second")));
    shutdown.finish(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn keeps_its_pace_until_told_otherwise() {
    let (workers, shutdown) = workers();
    let worker = Scripted::new([], WorkState::Busy { cost: 10 });
    let units = worker.units.clone();
    let began = Instant::now();
    workers.spawn(worker, Pace::PerSecond(500)).unwrap();
    until("ten units", || units.load(Ordering::Relaxed) == 10).await;
    assert!(began.elapsed() >= Duration::from_millis(170), "ten units at 20 ms each in {:?}", began.elapsed());

    workers.set_pace("scripted", Pace::PerSecond(0)).unwrap();
    until("paused", || workers.list()[0].activity == Activity::Paced).await;
    let paused_at = units.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(units.load(Ordering::Relaxed), paused_at);
    assert_eq!(workers.list()[0].per_second, Some(0));

    workers.set_pace("scripted", Pace::Unlimited).unwrap();
    until("unlimited", || units.load(Ordering::Relaxed) > paused_at + 1000).await;
    assert_eq!(workers.set_pace("nobody", Pace::Unlimited), Err(UnknownWorker("nobody".into())));
    shutdown.finish(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_name_belongs_to_one_running_worker() {
    let (workers, shutdown) = workers();
    workers.spawn(Scripted::new([Ok(WorkState::Done)], WorkState::Idle), Pace::Unlimited).unwrap();
    until("ended", || workers.list()[0].activity == Activity::Ended).await;
    workers.spawn(Scripted::new([], WorkState::Idle), Pace::Unlimited).unwrap();
    let again = workers.spawn(Scripted::new([], WorkState::Idle), Pace::Unlimited);
    assert_eq!(again, Err(NameTaken("scripted".into())));
    assert_eq!(workers.list().len(), 1);
    shutdown.finish(Duration::from_secs(5)).await.unwrap();
}

/// Panics at once.
struct Broken;

impl Worker for Broken {
    fn name(&self) -> String {
        "broken".into()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        panic!("a bug in a worker");
    }
}

#[tokio::test]
async fn a_panic_is_seen_and_stays_with_its_worker() {
    let (workers, shutdown) = workers();
    workers.spawn(Broken, Pace::Unlimited).unwrap();
    workers.spawn(Scripted::new([], WorkState::Idle), Pace::Unlimited).unwrap();
    until("crashed", || workers.list()[0].activity == Activity::Crashed).await;
    assert_ne!(workers.list()[1].activity, Activity::Crashed);
    shutdown.finish(Duration::from_secs(5)).await.unwrap();
}
