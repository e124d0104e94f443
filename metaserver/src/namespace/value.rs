//! How values are stored: one format byte, then postcard.
//!
//! A change of a stored type is a new format number and a decoder for the old one; the golden bytes of the type's tests fail
//! until that is done.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::KeyRange;
use crate::store::{Pair, Read, StoreError, Txn};

/// A type that stands in a table.
pub(super) trait Stored: Serialize + DeserializeOwned {
    /// First byte of the value.
    const FORMAT: u8;
    /// What a person calls it, for errors.
    const NOUN: &'static str;

    fn to_stored(&self) -> Bytes {
        postcard::to_extend(self, vec![Self::FORMAT]).expect("stored types hold nothing that cannot be encoded").into()
    }

    fn from_stored(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let damaged = || StoreError::bad_value(key, Self::NOUN);
        match value.split_first() {
            Some((&format, body)) if format == Self::FORMAT => match postcard::take_from_bytes(body) {
                Ok((value, [])) => Ok(value),
                _ => Err(damaged()),
            },
            _ => Err(damaged()),
        }
    }
}

/// The value of `key`.
pub(super) fn load<T: Stored>(read: &dyn Read, key: &[u8]) -> Result<Option<T>, StoreError> {
    read.get(key)?.map(|value| T::from_stored(key, &value)).transpose()
}

/// Writes the value of `key`.
pub(super) fn save<T: Stored>(txn: &mut Txn<'_>, key: Bytes, value: &T) {
    txn.put(key, value.to_stored());
}

/// The first pairs of `range`, at most `limit`, decoded. Fewer than `limit` means: there are no more.
pub(super) fn page<T>(
    read: &dyn Read,
    range: &KeyRange,
    limit: usize,
    decode: impl Fn(&Pair) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    read.scan_page(&range.start, &range.end, limit)?.iter().map(decode).collect()
}
