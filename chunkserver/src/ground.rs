//! What a chunkserver stands on: its disks, and the boot of its kernel; and other ones where a test asks for them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use cairn_proto::ids::BootId;

use crate::store::disk::Disk;

#[cfg(not(feature = "faults"))]
pub fn disk(_root: &Path) -> io::Result<Arc<dyn Disk>> {
    Ok(Arc::new(crate::store::disk::OsDisk))
}

/// One whose power was cut just now, or that fails when it is told to, where that is asked for.
#[cfg(feature = "faults")]
pub fn disk(root: &Path) -> io::Result<Arc<dyn Disk>> {
    use cairn_runtime::faults::{DISK_ERRORS, is_on};

    use crate::store::disk::errors::DiskErrors;
    use crate::store::disk::power_cuts::PowerCuts;

    let mut disk: Arc<dyn Disk> = Arc::new(crate::store::disk::OsDisk);
    if cuts_power() {
        disk = Arc::new(PowerCuts::cut(root)?);
    }
    if is_on(DISK_ERRORS) {
        disk = Arc::new(DiskErrors::new(disk, root));
    }
    Ok(disk)
}

/// The boot that this process runs under; after a power cut another one than before.
pub fn boot() -> io::Result<BootId> {
    #[cfg(feature = "faults")]
    if cuts_power() {
        return Ok(BootId(uuid::Uuid::new_v4().as_u128()));
    }
    Ok(BootId(cairn_runtime::bootid::BootId::current()?.0))
}

#[cfg(feature = "faults")]
fn cuts_power() -> bool {
    cairn_runtime::faults::is_on(cairn_runtime::faults::POWER_CUTS)
}
