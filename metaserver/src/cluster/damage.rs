//! Chunks with damaged copies that could not be made good: what repair does not go on trying, and people are to know of.
//!
//! All of it soft: chunkservers tell of damage that they know when they register, and find it again by their scrub.

use std::collections::BTreeMap;

use cairn_proto::ids::{ChunkHandle, ServerId};
use parking_lot::Mutex;

/// Chunks that are remembered at most; further ones are tried again when somebody meets them again.
const MAX_CHUNKS: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub struct Damage {
    chunks: Mutex<BTreeMap<ChunkHandle, Unmended>>,
}

#[derive(Debug)]
struct Unmended {
    /// Whose copies are damaged.
    bad: Vec<ServerId>,
    /// Members that were up at the last try.
    asked: Vec<ServerId>,
}

impl Damage {
    /// The copies of `bad` could not be made good while `up` were there. `true`: that is news.
    pub fn note(&self, handle: ChunkHandle, bad: Vec<ServerId>, up: Vec<ServerId>) -> bool {
        let mut chunks = self.chunks.lock();
        if chunks.len() >= MAX_CHUNKS && !chunks.contains_key(&handle) {
            return false;
        }
        chunks.insert(handle, Unmended { bad, asked: up }).is_none()
    }

    /// They are good, or the chunk is gone.
    pub fn forget(&self, handle: ChunkHandle) {
        self.chunks.lock().remove(&handle);
    }

    /// Whose copies of a chunk are damaged, as far as is known.
    pub fn copies(&self, handle: ChunkHandle) -> Vec<ServerId> {
        self.chunks.lock().get(&handle).map_or(Vec::new(), |unmended| unmended.bad.clone())
    }

    /// Whether one of those who are up now was not there at the last try.
    pub fn is_worth_a_try(&self, handle: ChunkHandle, mut up: impl Iterator<Item = ServerId>) -> bool {
        let chunks = self.chunks.lock();
        chunks.get(&handle).is_some_and(|unmended| up.any(|server| !unmended.asked.contains(&server)))
    }

    /// All of them, ascending.
    pub fn chunks(&self) -> Vec<ChunkHandle> {
        self.chunks.lock().keys().copied().collect()
    }

    pub fn len(&self) -> usize {
        self.chunks.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::server;

    #[test]
    fn tried_again_when_somebody_has_come() {
        let damage = Damage::default();
        let handle = ChunkHandle(1);
        let up = |ids: &[u128]| ids.iter().copied().map(server).collect::<Vec<_>>();
        assert!(!damage.is_worth_a_try(handle, up(&[1]).into_iter()), "it is not known");
        assert!(damage.note(handle, up(&[1]), up(&[1])));
        assert!(!damage.note(handle, up(&[1]), up(&[1])));
        assert!(!damage.is_worth_a_try(handle, up(&[1]).into_iter()));
        assert!(damage.is_worth_a_try(handle, up(&[1, 2]).into_iter()));
        assert_eq!((damage.copies(handle), damage.len()), (up(&[1]), 1));
        damage.forget(handle);
        assert!(damage.is_empty() && damage.copies(handle).is_empty());
    }
}
