//! `cairn-worker DIR LOG MANNER`: one worker of [`cairn_tests::linear`], its manner as JSON. It stops when its stdin is closed.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use cairn_tests::linear::worker::Worker;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, dir, log, manner] = args.as_slice() else { anyhow::bail!("usage: cairn-worker DIR LOG MANNER") };
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stopped.store(true, Ordering::SeqCst);
    });
    let mut worker = Worker::new(Path::new(dir), Path::new(log), serde_json::from_str(manner)?)?;
    worker.run(|| stop.load(Ordering::SeqCst))
}
