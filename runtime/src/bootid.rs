//! Which boot of its kernel this process runs under.
//!
//! Bytes that were written but not synced survive the death of a process, not that of its kernel. Whoever remembers the
//! boot id of a write can tell afterwards whether it may have been lost.

use std::fmt;
use std::io;
use std::str::FromStr;

/// Where Linux says it. In a container this is the host's, as it should be.
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// Drawn at random by the kernel at each boot; a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId(pub u128);

/// A text that is no boot id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no boot id (a UUID)")]
pub struct BadBootId(String);

impl BootId {
    /// The id of the running kernel.
    pub fn current() -> io::Result<Self> {
        let text = std::fs::read_to_string(BOOT_ID_PATH)?;
        text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl FromStr for BootId {
    type Err = BadBootId;

    fn from_str(text: &str) -> Result<Self, BadBootId> {
        let digits: String = text.split('-').collect();
        let well_formed = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(&digits, 16) {
            Ok(id) if well_formed => Ok(Self(id)),
            Ok(_) | Err(_) => Err(BadBootId(text.to_owned())),
        }
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let (a, rest) = digits.split_at(8);
        let (b, rest) = rest.split_at(4);
        let (c, rest) = rest.split_at(4);
        let (d, e) = rest.split_at(4);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels() {
        let id = BootId::current().unwrap();
        assert_eq!(id, BootId::current().unwrap());
        assert_eq!(id.to_string(), std::fs::read_to_string(BOOT_ID_PATH).unwrap().trim());
    }

    #[test]
    fn text_form() {
        let id: BootId = "0064c2d1-9f2e-4f3b-8e0a-00000000000f".parse().unwrap();
        assert_eq!(id.0, 0x0064_c2d1_9f2e_4f3b_8e0a_0000_0000_000f);
        assert_eq!(id.to_string(), "0064c2d1-9f2e-4f3b-8e0a-00000000000f");
        for bad in ["", "12", "+064c2d1-9f2e-4f3b-8e0a-00000000000f", "zz64c2d1-9f2e-4f3b-8e0a-00000000000f"] {
            assert_eq!(bad.parse::<BootId>(), Err(BadBootId(bad.to_owned())));
        }
    }
}
