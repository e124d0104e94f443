//! Where things are in a data directory.
//!
//! ```text
//! identity                 whose directory this is: see `data_dir`
//! lock                     held while a server runs on it
//! scrub                    how far the scrub is: see `crate::scrub::progress`
//! probe                    written now and then to try the disk: see `probe`
//! chunks/0a3/              256 chunks with neighbouring handles: (handle >> 8) & 0xfff, so that files that were written
//!                          together share directories, and one directory sync serves many of them
//!   000000000000a3f1.chunk a chunk: its header (see `header`) and its bytes
//!   *.tmp                  a copy that is being fetched; removed at the next start
//! quarantine/              files that do not describe themselves any more, for people to look at
//! ```

use std::path::{Path, PathBuf};

use cairn_proto::ids::ChunkHandle;

const CHUNK_SUFFIX: &str = "chunk";
const TMP_SUFFIX: &str = "tmp";

/// A data directory.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

/// What a file name below `chunks/` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    Chunk(ChunkHandle),
    /// Left behind by a crash.
    Leftover,
    Unknown,
}

impl Layout {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn scrub(&self) -> PathBuf {
        self.root.join("scrub")
    }

    pub fn probe(&self) -> PathBuf {
        self.root.join("probe")
    }

    pub fn chunks(&self) -> PathBuf {
        self.root.join("chunks")
    }

    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// The directory of a chunk's file.
    pub fn dir(&self, handle: ChunkHandle) -> PathBuf {
        self.chunks().join(format!("{:03x}", (handle.0 >> 8) & 0xfff))
    }

    pub fn chunk(&self, handle: ChunkHandle) -> PathBuf {
        self.dir(handle).join(format!("{:016x}.{CHUNK_SUFFIX}", handle.0))
    }

    /// Copy number `copy` of this run that is being fetched.
    pub fn temporary(&self, handle: ChunkHandle, copy: u64) -> PathBuf {
        self.dir(handle).join(format!("{:016x}.{copy}.{TMP_SUFFIX}", handle.0))
    }

    /// What `path`, somewhere below `chunks/`, is.
    pub fn classify(&self, path: &Path) -> FileKind {
        if path.extension().is_some_and(|suffix| suffix == TMP_SUFFIX) {
            return FileKind::Leftover;
        }
        let handle = path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok()).map(ChunkHandle);
        match handle {
            Some(handle) if self.chunk(handle) == path => FileKind::Chunk(handle),
            Some(_) | None => FileKind::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_recognised() {
        let layout = Layout::new(Path::new("/d"));
        let handle = ChunkHandle(0xa3f1);
        assert_eq!(layout.chunk(handle), Path::new("/d/chunks/0a3/000000000000a3f1.chunk"));
        assert_eq!(layout.classify(&layout.chunk(handle)), FileKind::Chunk(handle));
        let temporary = layout.temporary(handle, 7);
        assert_eq!(temporary, Path::new("/d/chunks/0a3/000000000000a3f1.7.tmp"));
        assert_eq!(layout.classify(&temporary), FileKind::Leftover);
        assert_eq!(layout.classify(Path::new("/d/chunks/0a4/000000000000a3f1.chunk")), FileKind::Unknown);
        assert_eq!(layout.classify(Path::new("/d/chunks/0a3/notes.txt")), FileKind::Unknown);
    }
}
