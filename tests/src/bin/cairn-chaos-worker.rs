//! `cairn-chaos-worker DIR SEEN MIRROR LEDGER SEED`: a worker of [`cairn_tests::chaos`]. Stops when stdin is closed, and leaves its ledger.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use cairn_tests::chaos::worker::{Places, Worker};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, seen, mirror, ledger, seed] = args.as_slice() else {
        anyhow::bail!("usage: cairn-chaos-worker DIR SEEN MIRROR LEDGER SEED")
    };
    let [dir, seen, mirror] = [dir, seen, mirror].map(PathBuf::from);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stopped.store(true, Ordering::SeqCst);
    });
    let worker = Worker::new(Places { dir, seen, mirror }, seed.parse().context("the seed is a number")?)?;
    let done = worker.run(|| stop.load(Ordering::SeqCst))?;
    std::fs::write(ledger, serde_json::to_vec(&done)?).context("write the ledger")
}
