//! One checkpoint as a file.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use cairn_runtime::crashsafe::AtomicFile;

use super::{CheckpointError, CheckpointHeader};
use crate::store::{Digest, Image, Pair};

/// First bytes of every checkpoint.
const MAGIC: &[u8; 8] = b"CAIRNCKP";

/// Version of the layout.
const FORMAT: u32 = 1;

/// Bytes before the encoded [`CheckpointHeader`].
const PREAMBLE_BYTES: usize = 24;

/// Largest encoded header that is believed.
const MAX_HEADER_BYTES: u32 = 1024 * 1024;

/// Largest block that is believed; a block is a page of an image.
const MAX_BLOCK_BYTES: u32 = 256 * 1024 * 1024;

/// Fast; three times smaller than the pairs. Higher levels save little and slow the node down for longer.
const ZSTD_LEVEL: i32 = 1;

/// Writes everything that `image` holds to `path`, durably and under that name only when it is whole.
///
/// Layout, integers little-endian: magic `CAIRNCKP`, format (4), length of the header (4), CRC-32 of the header (4), zero
/// (4), the header as postcard; then one zstd stream, with its own checksum, of blocks. A block is its length (4) and that
/// many bytes of pairs, each as length of key (4), length of value (4), key, value; keys ascend over the whole file. A
/// block of length 0 is the end. The digest in the header is that of all pairs.
pub fn write(path: &Path, header: &CheckpointHeader, image: &mut Image) -> Result<(), CheckpointError> {
    let failed = |e| CheckpointError::io("writing", path, e);
    let mut file = BufWriter::with_capacity(1 << 20, AtomicFile::create(path).map_err(failed)?);
    file.write_all(&preamble(header)).map_err(failed)?;
    let mut stream = zstd::Encoder::new(file, ZSTD_LEVEL).map_err(failed)?;
    stream.include_checksum(true).map_err(failed)?;
    let mut block = Vec::new();
    while let Some(page) = image.next_page()? {
        block.clear();
        for (key, value) in &page {
            block.extend_from_slice(&(key.len() as u32).to_le_bytes());
            block.extend_from_slice(&(value.len() as u32).to_le_bytes());
            block.extend_from_slice(key);
            block.extend_from_slice(value);
        }
        stream.write_all(&(block.len() as u32).to_le_bytes()).map_err(failed)?;
        stream.write_all(&block).map_err(failed)?;
    }
    stream.write_all(&0u32.to_le_bytes()).map_err(failed)?;
    let file = stream.finish().map_err(failed)?;
    let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
    file.commit().map_err(failed)
}

fn preamble(header: &CheckpointHeader) -> Vec<u8> {
    let header = postcard::to_stdvec(header).expect("a header of plain fields always encodes");
    let mut bytes = Vec::with_capacity(PREAMBLE_BYTES + header.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&header);
    bytes
}

/// Reads a checkpoint from beginning to end. What it yields may be trusted only when it has yielded `None`: only then is
/// all of it known to be what was written.
pub struct CheckpointReader {
    path: PathBuf,
    header: CheckpointHeader,
    stream: zstd::Decoder<'static, BufReader<BufReader<File>>>,
    found: Digest,
    last_key: Bytes,
    done: bool,
}

impl CheckpointReader {
    /// Opens a checkpoint and verifies its header.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => CheckpointError::damaged(path, "it ends within its header"),
            _ => CheckpointError::io("reading", path, e),
        };
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
        let mut preamble = [0; PREAMBLE_BYTES];
        file.read_exact(&mut preamble).map_err(failed)?;
        let word = |at: usize| u32::from_le_bytes(preamble[at..at + 4].try_into().expect("four bytes"));
        if &preamble[..8] != MAGIC || word(8) != FORMAT || word(12) > MAX_HEADER_BYTES {
            return Err(CheckpointError::damaged(
                path,
                "not a checkpoint, or of a format that this version does not know",
            ));
        }
        let mut header = vec![0; word(12) as usize];
        file.read_exact(&mut header).map_err(failed)?;
        if crc32fast::hash(&header) != word(16) {
            return Err(CheckpointError::damaged(path, "its header fails its checksum"));
        }
        let header = postcard::from_bytes(&header);
        let header = header.map_err(|_| CheckpointError::damaged(path, "its header does not decode"))?;
        let stream = zstd::Decoder::new(file).map_err(failed)?;
        let found = Digest::default();
        Ok(Self { path: path.to_owned(), header, stream, found, last_key: Bytes::new(), done: false })
    }

    pub fn header(&self) -> &CheckpointHeader {
        &self.header
    }

    /// The next pairs, in order of key; `None` at the end, when everything was right.
    pub fn next_block(&mut self) -> Result<Option<Vec<Pair>>, CheckpointError> {
        if self.done {
            return Ok(None);
        }
        let length = self.read_length()?;
        if length == 0 {
            self.finish()?;
            return Ok(None);
        }
        let mut block = vec![0; length as usize];
        self.stream.read_exact(&mut block).map_err(|e| unreadable(&self.path, &e))?;
        let pairs =
            split(block.into()).ok_or_else(|| CheckpointError::damaged(&self.path, "a block does not add up"))?;
        for (key, value) in &pairs {
            if *key <= self.last_key {
                return Err(CheckpointError::damaged(&self.path, "its keys are out of order"));
            }
            self.last_key = key.clone();
            self.found.add(key, value);
        }
        Ok(Some(pairs))
    }

    fn read_length(&mut self) -> Result<u32, CheckpointError> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(|e| unreadable(&self.path, &e))?;
        match u32::from_le_bytes(length) {
            length if length <= MAX_BLOCK_BYTES => Ok(length),
            _ => Err(CheckpointError::damaged(&self.path, "a block is too long")),
        }
    }

    fn finish(&mut self) -> Result<(), CheckpointError> {
        // Reading on to the end makes the decoder verify the stream's checksum.
        let rest = self.stream.read(&mut [0]).map_err(|e| unreadable(&self.path, &e))?;
        if rest != 0 {
            return Err(CheckpointError::damaged(&self.path, "something follows its end"));
        }
        if self.found != self.header.meta.digest {
            return Err(CheckpointError::damaged(&self.path, "its contents do not match its digest"));
        }
        self.done = true;
        Ok(())
    }
}

impl std::fmt::Debug for CheckpointReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointReader")
            .field("path", &self.path)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// An error from the decoder is as likely damage as anything else: it does not tell.
fn unreadable(path: &Path, error: &io::Error) -> CheckpointError {
    CheckpointError::damaged(path, error.to_string())
}

fn split(mut block: Bytes) -> Option<Vec<Pair>> {
    let mut pairs = Vec::new();
    while block.has_remaining() {
        let key = block.try_get_u32_le().ok()? as usize;
        let value = block.try_get_u32_le().ok()? as usize;
        if block.remaining() < key.checked_add(value)? {
            return None;
        }
        pairs.push((block.split_to(key), block.split_to(value)));
    }
    Some(pairs)
}
