//! Several things that wait for the disk, done at the same time.

use std::io;
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use tokio::runtime::Handle;

/// Something that waits for the disk.
pub type Task = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// A task that whoever comes first does, and where its end is said.
struct Offer(Mutex<Option<(Task, mpsc::Sender<io::Result<()>>)>>);

/// Does all of `tasks` at the same time, and waits for all of them. Returns the first error.
///
/// The caller does the first by itself, and those that no thread of the runtime's blocking pool has begun by then. Waking one
/// of these takes a tenth of the time of starting a thread, and where all of them are busy nobody waits for one.
pub fn all_at_once(tasks: Vec<Task>) -> io::Result<()> {
    let mut tasks = tasks.into_iter();
    let Some(first) = tasks.next() else { return Ok(()) };
    let (ends, ended) = mpsc::channel();
    let offers: Vec<Arc<Offer>> = tasks.map(|task| Arc::new(Offer(Mutex::new(Some((task, ends.clone())))))).collect();
    drop(ends);
    // Without a runtime, as in some tests: one after the other.
    if let Ok(runtime) = Handle::try_current() {
        for offer in &offers {
            let offer = offer.clone();
            runtime.spawn_blocking(move || offer.take_up());
        }
    }
    let mut result = first();
    offers.iter().for_each(|offer| offer.take_up());
    let mut missing = offers.len();
    for end in ended {
        result = result.and(end);
        missing -= 1;
    }
    match missing {
        0 => result,
        _ => result.and(Err(io::Error::other("an operation did not come to its end"))),
    }
}

impl Offer {
    /// Does the task unless somebody has begun it.
    fn take_up(&self) {
        let Some((task, ends)) = self.0.lock().take() else { return };
        // Whoever waits for it has gone only if it panicked.
        let _ = ends.send(task());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use super::*;

    fn failing(text: &'static str) -> Task {
        Box::new(move || Err(io::Error::other(text)))
    }

    #[test]
    fn all_are_done_and_the_first_error_is_returned() {
        let done = Arc::new(AtomicU32::new(0));
        let counting = || -> Task {
            let done = done.clone();
            Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
        };
        all_at_once(vec![]).unwrap();
        all_at_once(vec![counting(), counting(), counting()]).unwrap();
        let error = all_at_once(vec![counting(), failing("broken"), counting()]).unwrap_err();
        assert_eq!((error.to_string().as_str(), done.load(Ordering::Relaxed)), ("broken", 5));
    }

    #[tokio::test]
    async fn they_run_at_the_same_time() {
        // Nobody gets past it before three are there.
        let barrier = Arc::new(Barrier::new(3));
        let task = || -> Task {
            let barrier = barrier.clone();
            Box::new(move || {
                barrier.wait();
                Ok(())
            })
        };
        // The caller begins only one of them before the others are there, and takes up no more than it must.
        let tasks = vec![task(), task(), task()];
        tokio::task::spawn_blocking(move || all_at_once(tasks)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_task_that_panics_is_an_error() {
        let waits = Arc::new(Barrier::new(2));
        let waiting = waits.clone();
        let first: Task = Box::new(move || {
            // So that the other one is begun by another thread.
            waiting.wait();
            Ok(())
        });
        let second: Task = Box::new(move || {
            waits.wait();
            panic!("as this test wants it");
        });
        let result = tokio::task::spawn_blocking(move || all_at_once(vec![first, second])).await.unwrap();
        assert!(result.is_err());
    }

    #[test]
    fn a_pool_without_a_free_thread_is_not_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        let tasks = (0..3).map(|_| -> Task { Box::new(|| Ok(())) }).collect();
        runtime.block_on(async { tokio::task::spawn_blocking(move || all_at_once(tasks)).await.unwrap() }).unwrap();
    }

    #[tokio::test]
    #[ignore = "a measurement"]
    async fn speed_of_doing_three_things_at_once() {
        const COUNT: u32 = 1000;
        let nothing = || -> Task { Box::new(|| Ok(())) };
        let measure = move || {
            let began = Instant::now();
            (0..COUNT).for_each(|_| all_at_once(vec![nothing(), nothing(), nothing()]).unwrap());
            let pool = began.elapsed() / COUNT;
            let began = Instant::now();
            (0..COUNT).for_each(|_| {
                std::thread::scope(|scope| drop([scope.spawn(|| ()), scope.spawn(|| ())]));
            });
            (pool, began.elapsed() / COUNT)
        };
        let (pool, threads) = tokio::task::spawn_blocking(measure).await.unwrap();
        println!("three things at once: {pool:?} with the pool, {threads:?} with new threads");
    }
}
