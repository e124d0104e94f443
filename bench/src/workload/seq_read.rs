//! One large file read from start to end, and again.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Bench, Workload};
use crate::contents::{BLOCK_BYTES, Contents};
use crate::error::{BenchError, IoContext};
use crate::figure::Figure;

#[derive(Debug)]
pub struct SeqRead;

impl Workload for SeqRead {
    fn name(&self) -> &'static str {
        "seq-read"
    }

    fn about(&self) -> &'static str {
        "read one large file in pieces of 1 MiB, cold and again"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let path = bench.stream()?;
        let (bytes, keeps_data) = (bench.scale.stream_bytes, bench.target.keeps_data());
        bench.target.make_cold()?;
        let cold = read_stream(&path, bytes, keeps_data)?;
        let again = read_stream(&path, bytes, keeps_data)?;
        Ok(vec![Figure::bytes("seq-read.cold", bytes, cold), Figure::bytes("seq-read.again", bytes, again)])
    }
}

fn read_stream(path: &Path, bytes: u64, check: bool) -> Result<Duration, BenchError> {
    let contents = Contents::new(BLOCK_BYTES);
    let mut block = vec![0; BLOCK_BYTES];
    let start = Instant::now();
    let mut file = File::open(path).doing("open", path)?;
    for stamp in 0..bytes / BLOCK_BYTES as u64 {
        file.read_exact(&mut block).doing("read", path)?;
        if check {
            contents.check(&block, stamp, path, stamp * BLOCK_BYTES as u64)?;
        }
    }
    drop(file);
    Ok(start.elapsed())
}
