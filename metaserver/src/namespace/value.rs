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
    /// Formats before, as far as they only lack fields at the end: what has to be put there to read them as this one.
    const OLDER: &'static [(u8, &'static [u8])] = &[];

    fn to_stored(&self) -> Bytes {
        postcard::to_extend(self, vec![Self::FORMAT]).expect("stored types hold nothing that cannot be encoded").into()
    }

    fn from_stored(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let damaged = || StoreError::bad_value(key, Self::NOUN);
        let decode = |body: &[u8]| match postcard::take_from_bytes(body) {
            Ok((value, [])) => Ok(value),
            _ => Err(damaged()),
        };
        let (&format, body) = value.split_first().ok_or_else(damaged)?;
        if format == Self::FORMAT {
            return decode(body);
        }
        let (_, missing) = Self::OLDER.iter().find(|(older, _)| *older == format).ok_or_else(damaged)?;
        decode(&[body, missing].concat())
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
