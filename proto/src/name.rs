//! Names in directories and of extended attributes.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

/// Bytes in the longest name (`NAME_MAX`, and the same for xattr names).
pub const NAME_MAX_BYTES: usize = 255;

/// A valid name of a directory entry: 1 to [`NAME_MAX_BYTES`] bytes, no `/`, no NUL, not `.` nor `..`.
///
/// Bytes, not text: Linux file names need not be UTF-8. Deserialisation checks as the constructor does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Name(Vec<u8>);

/// Why some bytes are no [`Name`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    #[error("a name is longer than {NAME_MAX_BYTES} bytes")]
    TooLong,
    #[error("a name is empty, '.', '..', or contains '/' or NUL")]
    Invalid,
}

impl Name {
    /// Checks `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, NameError> {
        let bytes = bytes.into();
        if bytes.len() > NAME_MAX_BYTES {
            return Err(NameError::TooLong);
        }
        if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.iter().any(|b| matches!(b, b'/' | 0)) {
            return Err(NameError::Invalid);
        }
        Ok(Self(bytes))
    }

    /// Checks a name as the kernel passes it.
    pub fn from_os(name: &OsStr) -> Result<Self, NameError> {
        Self::new(name.as_bytes())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn to_os(&self) -> OsString {
        OsString::from_vec(self.0.clone())
    }
}

impl TryFrom<Vec<u8>> for Name {
    type Error = NameError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, NameError> {
        Self::new(bytes)
    }
}

impl From<Name> for Vec<u8> {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        assert!(Name::new(vec![b'x'; 255]).is_ok());
        assert_eq!(Name::new(vec![b'x'; 256]), Err(NameError::TooLong));
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
            assert_eq!(Name::new(bad), Err(NameError::Invalid));
        }
    }

    #[test]
    fn the_wire_is_checked() {
        let bytes = postcard::to_stdvec(&b"a/b".to_vec()).unwrap();
        assert!(postcard::from_bytes::<Name>(&bytes).is_err());
    }
}
