//! Configuration files of the MooseFS daemons.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{BenchError, IoContext};

/// Where all daemons listen; given to the loopback device by `bench/run`.
pub const ADDRESS: &str = "10.99.0.1";

/// The port of the first chunkserver; the master's are left at 9419 to 9421.
const FIRST_CHUNKSERVER_PORT: u16 = 9422;

/// An empty namespace, from the package of the master.
const EMPTY_METADATA: &str = "/var/lib/mfs/metadata.mfs.empty";

/// Everybody may do everything: nobody else is in this network.
const EXPORTS: &str = "* / rw,alldirs,admin,maproot=0:0\n* . rw\n";

/// What an acknowledgement of MooseFS means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Chunks and changelog reach the page cache of their server, also by fsync.
    AsInstalled,
    /// Chunks are synced before they are closed, and the changelog with every operation.
    Synced,
}

/// Writes the master's files into `directory` and answers with the path of its configuration.
pub fn write_master(directory: &Path, durability: Durability) -> Result<PathBuf, BenchError> {
    let metadata = directory.join("metadata.mfs");
    fs::copy(EMPTY_METADATA, &metadata).doing("copy the empty MooseFS metadata to", &metadata)?;
    let exports = write(directory.join("mfsexports.cfg"), EXPORTS)?;
    let topology = write(directory.join("mfstopology.cfg"), "")?;
    let mut config = daemon_settings(directory);
    config.extend([
        ("EXPORTS_FILENAME", exports.display().to_string()),
        ("TOPOLOGY_FILENAME", topology.display().to_string()),
        ("MATOML_LISTEN_HOST", ADDRESS.to_owned()),
        ("MATOCS_LISTEN_HOST", ADDRESS.to_owned()),
        ("MATOCL_LISTEN_HOST", ADDRESS.to_owned()),
    ]);
    if durability == Durability::Synced {
        config.push(("CHANGELOG_SAVE_MODE", "2".to_owned()));
    }
    write(directory.join("mfsmaster.cfg"), &render(&config))
}

/// Writes the files of the chunkserver with number `index` into `directory` and answers with the path of its configuration.
pub fn write_chunkserver(directory: &Path, index: u16, durability: Durability) -> Result<PathBuf, BenchError> {
    let chunks = directory.join("chunks");
    fs::create_dir(&chunks).doing("create", &chunks)?;
    let disks = write(directory.join("mfshdd.cfg"), &format!("{}\n", chunks.display()))?;
    let mut config = daemon_settings(directory);
    config.extend([
        ("HDD_CONF_FILENAME", disks.display().to_string()),
        ("MASTER_HOST", ADDRESS.to_owned()),
        // Its first attempt may come before the master listens; the default would add five seconds to every start.
        ("MASTER_RECONNECTION_DELAY", "1".to_owned()),
        ("CSSERV_LISTEN_HOST", ADDRESS.to_owned()),
        ("CSSERV_LISTEN_PORT", (FIRST_CHUNKSERVER_PORT + index).to_string()),
    ]);
    if durability == Durability::Synced {
        config.push(("HDD_FSYNC_BEFORE_CLOSE", "1".to_owned()));
    }
    write(directory.join("mfschunkserver.cfg"), &render(&config))
}

/// Runs as root, as the directories are root's, and keeps its lock file and statistics beside its data.
fn daemon_settings(directory: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("WORKING_USER", "root".to_owned()),
        ("WORKING_GROUP", "root".to_owned()),
        ("DATA_PATH", directory.display().to_string()),
    ]
}

fn render(settings: &[(&str, String)]) -> String {
    settings.iter().map(|(name, value)| format!("{name} = {value}\n")).collect()
}

fn write(path: PathBuf, text: &str) -> Result<PathBuf, BenchError> {
    fs::write(&path, text).doing("write", &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chunkserver_has_a_port_and_a_disk_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = write_chunkserver(directory.path(), 2, Durability::AsInstalled).unwrap();
        let config = fs::read_to_string(path).unwrap();
        assert!(config.contains("CSSERV_LISTEN_PORT = 9424\n"));
        assert!(!config.contains("HDD_FSYNC_BEFORE_CLOSE"), "as installed means the default");
        let disks = fs::read_to_string(directory.path().join("mfshdd.cfg")).unwrap();
        assert_eq!(disks, format!("{}\n", directory.path().join("chunks").display()));
    }

    #[test]
    fn the_durable_variant_syncs_chunks() {
        let directory = tempfile::tempdir().unwrap();
        let path = write_chunkserver(directory.path(), 0, Durability::Synced).unwrap();
        assert!(fs::read_to_string(path).unwrap().contains("HDD_FSYNC_BEFORE_CLOSE = 1\n"));
    }
}
