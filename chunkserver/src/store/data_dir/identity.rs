//! The file `identity`: whose directory it is, and which other disks its server has.
//!
//! A server with one disk writes format 2, which says no more than server and cluster: its disk has the server's own id. One with several, or
//! whose disk was out once, writes format 3.

use std::io;
use std::path::Path;

use cairn_proto::ids::{ClusterId, DiskId, ServerId};
use cairn_runtime::crashsafe;
use serde::{Deserialize, Serialize};

use super::{DataDirError, io_error};
use crate::store::seal::{SealError, format_of, seal, unseal};

const MAGIC: [u8; 8] = *b"CAIRNCSD";
/// Format of [`Identity`], and with it of the directory's layout.
const FORMAT: u16 = 3;
/// Without a disk's id, nor other disks.
const FORMAT_OF_ONE: u16 = 2;
/// The oldest one that is read. Format 1 kept a chunk in two files, and was never released.
const OLDEST_FORMAT: u16 = 2;

/// Whose directory it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Identity {
    /// Made at the first start.
    pub server: ServerId,
    /// Learned at the first registration.
    pub cluster: Option<ClusterId>,
    /// Of this directory.
    pub disk: DiskId,
    /// All disks of the server, this one among them, in the order in which they were given at the last start.
    pub disks: Vec<Member>,
}

/// A disk of the server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Member {
    pub disk: DiskId,
    /// Its directory at the last start.
    pub path: String,
    /// The server's generation when the disk was used last. It is raised when a disk goes out of use, on all that stay: so a disk that comes
    /// back is known for one that was out, and so are its copies.
    pub generation: u32,
}

/// What format 2 says.
#[derive(Serialize, Deserialize)]
struct OfOne {
    server: ServerId,
    cluster: Option<ClusterId>,
}

impl Identity {
    /// Of the only disk of a server that was never without it.
    pub fn of_one(server: ServerId, cluster: Option<ClusterId>, path: String) -> Self {
        let disk = DiskId(server.0);
        Self { server, cluster, disk, disks: vec![Member { disk, path, generation: 0 }] }
    }

    /// As of when the disk was used last.
    pub fn generation(&self) -> u32 {
        self.disks.iter().find(|member| member.disk == self.disk).map_or(0, |member| member.generation)
    }

    fn is_of_one(&self) -> bool {
        self.disk.0 == self.server.0 && self.disks.len() == 1 && self.generation() == 0
    }

    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        match self.is_of_one() {
            true => seal(MAGIC, FORMAT_OF_ONE, &OfOne { server: self.server, cluster: self.cluster }),
            false => seal(MAGIC, FORMAT, self),
        }
    }

    /// What `bytes`, found in the directory `root`, say.
    pub fn decode(bytes: &[u8], root: &Path) -> Result<Self, DataDirError> {
        let damaged = |source: SealError| DataDirError::Damaged { path: root.to_owned(), source };
        let identity = match format_of(bytes) {
            Some(FORMAT) => unseal(MAGIC, FORMAT, bytes).map_err(damaged)?,
            _ => {
                let OfOne { server, cluster } = unseal(MAGIC, FORMAT, bytes).map_err(damaged)?;
                Self::of_one(server, cluster, root.display().to_string())
            }
        };
        match format_of(bytes).filter(|found| *found < OLDEST_FORMAT) {
            Some(found) => Err(DataDirError::Older { path: root.to_owned(), found }),
            None => Ok(identity),
        }
    }

    pub fn store(&self, path: &Path) -> Result<(), DataDirError> {
        let bytes = self.encode().map_err(|e| io_error(path, "encode it")(io::Error::other(e)))?;
        crashsafe::write_atomic(path, &bytes).map_err(io_error(path, "write it"))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(n: u8) -> Uuid {
        Uuid::from_bytes([n; 16])
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn golden_identity() {
        let one = Identity::of_one(ServerId(id(0xab)), Some(ClusterId(id(0xcd))), "/d".into());
        let bytes = one.encode().unwrap();
        let body = format!("10{}0110{}", "ab".repeat(16), "cd".repeat(16));
        assert_eq!(hex(&bytes), format!("434149524e43534402002300e9e3a07c{body}"));
        assert_eq!(Identity::decode(&bytes, Path::new("/d")).unwrap(), one);
    }

    #[test]
    fn golden_identity_of_several() {
        let member = |n, path: &str, generation| Member { disk: DiskId(id(n)), path: path.into(), generation };
        let disks = vec![member(1, "/a", 7), member(2, "/b", 6)];
        let identity = Identity { server: ServerId(id(0xab)), cluster: None, disk: DiskId(id(1)), disks };
        let bytes = identity.encode().unwrap();
        assert_eq!(bytes[..10], *b"CAIRNCSD\x03\x00");
        let of = |n: &str, path: &str, generation: &str| format!("10{}02{path}{generation}", n.repeat(16));
        let disks = format!("02{}{}", of("01", "2f61", "07"), of("02", "2f62", "06"));
        assert_eq!(hex(&bytes[16..]), format!("10{}0010{}{disks}", "ab".repeat(16), "01".repeat(16)));
        assert_eq!(Identity::decode(&bytes, Path::new("/a")).unwrap(), identity);
        assert_eq!(identity.generation(), 7);
    }

    #[test]
    fn what_is_too_old_or_too_new_is_said_to_be() {
        let of = |format| seal(MAGIC, format, &OfOne { server: ServerId(id(1)), cluster: None }).unwrap();
        let decode = |format| Identity::decode(&of(format), Path::new("/d")).unwrap_err();
        assert!(matches!(decode(1), DataDirError::Older { found: 1, .. }));
        assert!(matches!(decode(4), DataDirError::Damaged { source: SealError::NewerFormat { found: 4, .. }, .. }));
    }
}
