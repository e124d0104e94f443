//! Slots, chunks, garbage.

use super::Check;
use crate::namespace::chunk::{self, Chunk};
use crate::namespace::garbage::{self, Garbage};
use crate::namespace::inode::{self, Content, Inode};
use crate::namespace::slot::{self, Slot};
use crate::namespace::value::Stored;
use crate::namespace::{counters, keys};
use crate::store::StoreError;

impl Check<'_> {
    pub(super) fn check_slot(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let row = keys::parse_slot(key).and_then(|(inode, index)| Ok((inode, index, Slot::from_stored(key, value)?)));
        let Some((id, index, slot)) = self.decoded(row)? else {
            return Ok(());
        };
        let inode = inode::find(self.read, id);
        if !matches!(self.decoded(inode)?.flatten(), Some(Inode { content: Content::File(_), .. })) {
            self.found("slot-without-file", Some(id), Some(slot.handle), format!("{id} has chunks and is no file"));
        }
        let chunk = chunk::find(self.read, slot.handle);
        if self.decoded(chunk)?.flatten().is_none() {
            let what = format!("slot {index} of {id} has {}, which does not exist", slot.handle);
            self.found("slot-without-chunk", Some(id), Some(slot.handle), what);
        }
        Ok(())
    }

    /// With references counted, as no chunk is shared yet: one, from the slot it was made for.
    pub(super) fn check_chunk(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.progress.counted.chunks += 1;
        let row = keys::parse_chunk(key).and_then(|handle| Ok((handle, Chunk::from_stored(key, value)?)));
        let Some((handle, chunk)) = self.decoded(row)? else {
            return Ok(());
        };
        let (inode, index) = (chunk.inode, chunk.index);
        let slot = slot::find(self.read, inode, index);
        let refs = u32::from(self.decoded(slot)?.flatten().is_some_and(|slot| slot.handle == handle));
        if refs != chunk.refs {
            let what = format!("{handle} of {inode} {index} is in {refs} slots, noted are {}", chunk.refs);
            self.found("wrong-refs", Some(inode), Some(handle), what);
        }
        if chunk::check_members(&chunk.members).is_err() {
            let what = format!("{handle} has an impossible set of {} members", chunk.members.len());
            self.found("bad-members", Some(inode), Some(handle), what);
        }
        if garbage::find(self.read, handle).is_ok_and(|garbage| garbage.is_some()) {
            self.found("living-garbage", Some(inode), Some(handle), format!("{handle} is in use and garbage at once"));
        }
        self.check_handle(handle)
    }

    pub(super) fn check_garbage(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.progress.counted.garbage += 1;
        let row = keys::parse_garbage(key).and_then(|handle| Garbage::from_stored(key, value).map(|_| handle));
        match self.decoded(row)? {
            Some(handle) => self.check_handle(handle),
            None => Ok(()),
        }
    }

    fn check_handle(&mut self, handle: cairn_proto::ids::ChunkHandle) -> Result<(), StoreError> {
        let next = counters::get(self.read)?.next_handle;
        if handle >= next {
            let what = format!("{handle} exists, but the next one would be {next}");
            self.found("number-not-given-out", None, Some(handle), what);
        }
        Ok(())
    }
}
