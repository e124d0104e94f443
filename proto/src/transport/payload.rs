//! Bulk bytes that travel beside a message instead of inside it.
//!
//! serde would copy them at least twice, byte by byte at worst. So while a frame is being written, serialising a
//! [`Payload`] only notes its length and puts a reference to the bytes on a list of the current thread; while a frame is
//! being read, deserialising one takes the next bytes of the frame, by reference again. (De)serialising never suspends,
//! so one list per thread is enough.
//!
//! Away from frames (logs, golden bytes, values on disk) a payload is ordinary serde bytes. A tag says which form was
//! written, and a form in the wrong place is an error.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Tag of a payload whose bytes follow it.
const INLINE: u8 = 0;

/// Tag of a payload of which only the length (u32) follows; its bytes are in the payload part of the frame.
const ATTACHED: u8 = 1;

/// Bytes moved in bulk: file data, chunk pieces, snapshots. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Payload(pub Bytes);

/// What the frame codec is doing on this thread.
enum Codec {
    Idle,
    Writing(Vec<Bytes>),
    Reading(Bytes),
}

thread_local! {
    static CODEC: RefCell<Codec> = const { RefCell::new(Codec::Idle) };
}

/// Puts the outer state back, also when (de)serialising unwinds.
struct Scope {
    outer: Option<Codec>,
}

impl Scope {
    fn enter(codec: Codec) -> Self {
        Self { outer: Some(CODEC.replace(codec)) }
    }

    /// Ends the scope, returning the state that it ends with.
    fn leave(mut self) -> Codec {
        CODEC.replace(self.outer.take().unwrap_or(Codec::Idle))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if let Some(outer) = self.outer.take() {
            CODEC.replace(outer);
        }
    }
}

/// Runs `write`, returning the payloads that it serialised, in order.
pub(super) fn collect<T>(write: impl FnOnce() -> T) -> (T, Vec<Bytes>) {
    let scope = Scope::enter(Codec::Writing(Vec::new()));
    let result = write();
    match scope.leave() {
        Codec::Writing(attached) => (result, attached),
        Codec::Idle | Codec::Reading(_) => (result, Vec::new()),
    }
}

/// Runs `read` with `bytes` to take payloads from, returning what it left of them.
pub(super) fn provide<T>(bytes: Bytes, read: impl FnOnce() -> T) -> (T, Bytes) {
    let scope = Scope::enter(Codec::Reading(bytes));
    let result = read();
    match scope.leave() {
        Codec::Reading(rest) => (result, rest),
        Codec::Idle | Codec::Writing(_) => (result, Bytes::new()),
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let attached = CODEC.with_borrow_mut(|codec| match codec {
            Codec::Writing(list) => {
                list.push(self.0.clone());
                true
            }
            Codec::Idle | Codec::Reading(_) => false,
        });
        let mut tuple = serializer.serialize_tuple(2)?;
        if attached {
            let len = u32::try_from(self.0.len()).map_err(|_| serde::ser::Error::custom("payload over 4 GiB"))?;
            tuple.serialize_element(&ATTACHED)?;
            tuple.serialize_element(&len)?;
        } else {
            tuple.serialize_element(&INLINE)?;
            tuple.serialize_element(&self.0)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(2, PayloadVisitor)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a payload: a tag, then bytes or their length")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Payload, A::Error> {
        let tag: u8 = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        match tag {
            INLINE => seq.next_element()?.map(Payload).ok_or_else(|| A::Error::invalid_length(1, &self)),
            ATTACHED => {
                let len: u32 = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                take_attached(len as usize).map(Payload).map_err(A::Error::custom)
            }
            other => Err(A::Error::custom(format_args!("unknown payload tag {other}"))),
        }
    }
}

fn take_attached(len: usize) -> Result<Bytes, &'static str> {
    CODEC.with_borrow_mut(|codec| match codec {
        Codec::Reading(rest) if len <= rest.len() => Ok(rest.split_to(len)),
        Codec::Reading(_) => Err("payload longer than what its frame carries"),
        Codec::Idle | Codec::Writing(_) => Err("attached payload outside of a frame"),
    })
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Payload> for Bytes {
    fn from(payload: Payload) -> Self {
        payload.0
    }
}

/// Says how many bytes there are, never which: they are users' data.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(bytes: &'static [u8]) -> Payload {
        Payload(Bytes::from_static(bytes))
    }

    #[test]
    fn inline_away_from_frames() {
        let stored = postcard::to_stdvec(&(1u8, payload(b"abc"), 2u8)).unwrap();
        assert_eq!(stored, [1, INLINE, 3, b'a', b'b', b'c', 2]);
        assert_eq!(postcard::from_bytes::<(u8, Payload, u8)>(&stored).unwrap(), (1, payload(b"abc"), 2));
    }

    #[test]
    fn attached_in_frames() {
        let value = (payload(b"abc"), 7u8, payload(b""), payload(b"de"));
        let (header, attached) = collect(|| postcard::to_stdvec(&value).unwrap());
        assert_eq!(header, [ATTACHED, 3, 7, ATTACHED, 0, ATTACHED, 2]);
        assert_eq!(attached.concat(), b"abcde");

        let bytes = Bytes::from_static(b"abcde!");
        let (read, rest) =
            provide(bytes.clone(), || postcard::from_bytes::<(Payload, u8, Payload, Payload)>(&header).unwrap());
        assert_eq!(read, value);
        assert_eq!(rest, &b"!"[..]);
        assert_eq!(read.0.as_ptr(), bytes.as_ptr(), "payloads share the frame's memory");
    }

    #[test]
    fn the_wrong_form_is_an_error() {
        assert!(postcard::from_bytes::<Payload>(&[ATTACHED, 3]).is_err());
        assert!(postcard::from_bytes::<Payload>(&[9, 0]).is_err());
        let (short, _) = provide(Bytes::from_static(b"ab"), || postcard::from_bytes::<Payload>(&[ATTACHED, 3]));
        assert!(short.is_err());
    }

    #[test]
    fn scopes_nest_and_end() {
        let ((), outer) = collect(|| {
            let (_, inner) = collect(|| postcard::to_stdvec(&payload(b"in")).unwrap());
            assert_eq!(inner.concat(), b"in");
            postcard::to_stdvec(&payload(b"out")).unwrap();
        });
        assert_eq!(outer.concat(), b"out");
        let unwound = std::panic::catch_unwind(|| collect(|| panic!("in the middle of a frame")));
        assert!(unwound.is_err());
        assert_eq!(postcard::to_stdvec(&payload(b"x")).unwrap(), [INLINE, 1, b'x']);
    }
}
