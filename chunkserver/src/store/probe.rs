//! Trying a disk: its file `probe` is written, synced and read back.

use std::io;

use super::disk::{DiskFile, OpenMode, is_full, write_all_at};
use super::volume::Volume;

/// Bytes of it.
const PROBE_BYTES: usize = 4096;

/// Writes, syncs and reads the probe file. Fails with what is wrong with the disk.
///
/// It is opened where it is: a file that is made anew where the disk is not mounted any more would be another disk's.
pub fn probe(volume: &Volume, count: u64) -> Result<(), String> {
    match write_and_read(volume, count) {
        Ok(true) => Ok(()),
        Ok(false) => Err("the probe file does not read as it was written".into()),
        Err(error) if is_ours(&error) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("what was on it is gone: is it not mounted any more?".into())
        }
        Err(error) => Err(format!("cannot write, sync and read the probe file: {error}")),
    }
}

fn write_and_read(volume: &Volume, count: u64) -> io::Result<bool> {
    let path = volume.layout.probe();
    let bytes = count.to_le_bytes().repeat(PROBE_BYTES / size_of::<u64>());
    let file = open(volume)?;
    write_all_at(&*file, &bytes, 0).map_err(|partial| partial.error)?;
    file.sync_data()?;
    Ok(volume.disk.read_from_disk(&path, 0, PROBE_BYTES)? == bytes)
}

fn open(volume: &Volume) -> io::Result<Box<dyn DiskFile>> {
    match volume.disk.open(&volume.layout.probe(), OpenMode::Existing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            volume.disk.open(&volume.layout.identity(), OpenMode::Existing)?;
            volume.disk.open(&volume.layout.probe(), OpenMode::Any)
        }
        opened => opened,
    }
}

/// Whether an error is not the disk's fault.
fn is_ours(error: &io::Error) -> bool {
    is_full(error) || matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}
