//! The content of a register's file: a [`Value`] in 16 to 4096 bytes that belong together, so that halves of two are told.

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::model::Value;

/// No content is longer.
pub const MAX_LEN: usize = 4096;
/// Value and length, before the rest.
const HEAD: usize = 16;

/// The bytes for `value`. Their length depends on it, too.
pub fn encode(value: Value) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(value);
    let len = match rng.random_range(0..4) {
        0 => HEAD,
        1 => MAX_LEN,
        _ => rng.random_range(HEAD..=MAX_LEN),
    };
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes[HEAD..]);
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    bytes[8..HEAD].copy_from_slice(&(len as u64).to_le_bytes());
    bytes
}

/// The value, if `bytes` begin with all that belongs to one; behind it may be the rest of a longer one. Zeros are value 0.
pub fn decode(bytes: &[u8]) -> Option<Value> {
    let (value, len) = bytes.first_chunk::<HEAD>()?.split_at(8);
    let value = Value::from_le_bytes(value.try_into().ok()?);
    let len = u64::from_le_bytes(len.try_into().ok()?);
    if value == 0 {
        return (len == 0).then_some(0);
    }
    bytes.starts_with(&encode(value)).then_some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "these are tests")]

    use super::*;

    #[test]
    fn a_value_comes_back_and_a_mixture_does_not() {
        assert_eq!(decode(&[0; MAX_LEN]), Some(0));
        assert_eq!(decode(&[]), None);
        for value in 1..200 {
            let mut bytes = encode(value);
            assert_eq!(decode(&bytes), Some(value));
            let other = encode(value + 1);
            // A shorter one over a longer one leaves its tail.
            let mut over = other.clone();
            over.resize(over.len().max(bytes.len()), 0);
            over[..bytes.len()].copy_from_slice(&bytes);
            assert_eq!(decode(&over), Some(value));
            if bytes.len() > HEAD && other.len() > HEAD {
                let half = HEAD.max(bytes.len().min(other.len()) / 2);
                let len = bytes.len().min(other.len());
                if half < len {
                    bytes[half..len].copy_from_slice(&other[half..len]);
                    assert_eq!(decode(&bytes), None);
                }
            }
            assert_eq!(decode(&encode(value)[..HEAD - 1]), None);
        }
    }
}
