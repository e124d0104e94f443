//! One large file written from start to end.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use super::context::sync_file;
use super::{Bench, Workload};
use crate::contents::{BLOCK_BYTES, Contents};
use crate::error::{BenchError, IoContext};
use crate::figure::Figure;

#[derive(Debug)]
pub struct SeqWrite;

impl Workload for SeqWrite {
    fn name(&self) -> &'static str {
        "seq-write"
    }

    fn about(&self) -> &'static str {
        "write one large file in pieces of 1 MiB"
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let path = bench.directory.join("stream");
        let mut contents = Contents::new(BLOCK_BYTES);
        let start = Instant::now();
        write_stream(&path, bench.scale.stream_bytes, &mut contents)?;
        let closed = start.elapsed();
        sync_file(&path)?;
        bench.target.sync_backing()?;
        let on_disk = start.elapsed();
        bench.keep_stream(&path)?;
        let bytes = bench.scale.stream_bytes;
        Ok(vec![Figure::bytes("seq-write.close", bytes, closed), Figure::bytes("seq-write.disk", bytes, on_disk)])
    }
}

/// Writes `bytes` of stamped blocks to a new file and closes it.
pub fn write_stream(path: &Path, bytes: u64, contents: &mut Contents) -> Result<(), BenchError> {
    let mut file = File::create_new(path).doing("create", path)?;
    for stamp in 0..bytes / BLOCK_BYTES as u64 {
        file.write_all(contents.stamped(stamp)).doing("write", path)?;
    }
    Ok(())
}
