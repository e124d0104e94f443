//! `cairn-journal DIR SEED [--sync-names]`: the load of [`cairn_tests::journal`]. Prints what was acknowledged; stops when stdin is closed.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use cairn_tests::journal::{self, Names};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, dir, seed, names @ ..] = args.as_slice() else {
        anyhow::bail!("usage: cairn-journal DIR SEED [--sync-names]")
    };
    let names = Names::of_arg(names.first().map(String::as_str))?;
    let (dir, seed) = (Path::new(dir), seed.parse().context("the seed is a number")?);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stopped.store(true, Ordering::SeqCst);
    });
    std::fs::create_dir(dir).context("create the directory")?;
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        journal::step(dir, n, seed, names, |record| {
            let mut out = std::io::stdout().lock();
            // Nobody reads any more: the test is over.
            let _ = writeln!(out, "{record}").and_then(|()| out.flush());
        })?;
        n += 1;
    }
    Ok(())
}
