//! The part of a file from one of its bytes on, as a file of its own.

use std::io;
use std::sync::Arc;

use super::DiskFile;

/// What lies before `start` belongs to somebody else; a length of 0 means that nothing lies behind it.
#[derive(Clone, Debug)]
pub struct Part {
    file: Arc<dyn DiskFile>,
    start: u64,
}

impl Part {
    pub fn new(file: Arc<dyn DiskFile>, start: u64) -> Self {
        Self { file, start }
    }
}

impl DiskFile for Part {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, self.start + offset)
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_cached_at(buf, self.start + offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, self.start + offset)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.punch(self.start + offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(self.start + len)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.length()?.saturating_sub(self.start))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn check_written(&self) -> io::Result<()> {
        self.file.check_written()
    }

    fn data_ranges(&self) -> io::Result<Vec<(u64, u64)>> {
        let behind = |(offset, len): (u64, u64)| {
            let (from, end) = (offset.max(self.start), offset + len);
            (from < end).then(|| (from - self.start, end - from))
        };
        Ok(self.file.data_ranges()?.into_iter().filter_map(behind).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Disk, OpenMode, OsDisk, write_all_at};
    use super::*;

    #[test]
    fn nothing_before_the_part_is_touched_or_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file: Arc<dyn DiskFile> = OsDisk.open(&dir.path().join("f"), OpenMode::New).unwrap().into();
        write_all_at(&*file, &[1; 4096], 0).unwrap();
        let part = Part::new(file.clone(), 8192);
        assert_eq!((part.length().unwrap(), part.data_ranges().unwrap()), (0, vec![]));
        write_all_at(&part, &[2; 8192], 4096).unwrap();
        assert_eq!((part.length().unwrap(), file.length().unwrap()), (12_288, 20_480));
        assert_eq!(part.data_ranges().unwrap(), [(4096, 8192)]);
        part.punch(4096, 4096).unwrap();
        assert_eq!(part.data_ranges().unwrap(), [(8192, 4096)]);
        part.set_len(9000).unwrap();
        let mut bytes = [9; 4096];
        assert_eq!(part.read_at(&mut bytes, 8192).unwrap(), 808);
        assert_eq!(bytes[..808], [2; 808]);
        part.set_len(0).unwrap();
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 4096);
        assert_eq!(bytes, [1; 4096]);
    }
}
