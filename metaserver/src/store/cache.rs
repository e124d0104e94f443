//! What was read lately, kept in memory.
//!
//! A lookup in sled costs some 5 µs, a hit here a tenth of that; and most commands read what the command before them
//! wrote. That a key does not exist is remembered too, as every create asks for it.

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

/// Independent parts, so that readers seldom meet.
const SHARDS: usize = 16;

/// Values larger than this are not kept: few of them would push out much else.
const LARGEST_VALUE_BYTES: usize = 16 * 1024;

/// What an entry takes besides its bytes; an estimate.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// A bounded map from key to value, or to the knowledge that there is none.
///
/// It is only right if whoever fills it excludes whoever changes the state; see [`super::Keyspace`].
#[derive(Debug)]
pub(super) struct ReadCache {
    shards: Vec<Mutex<Shard>>,
    shard_limit_bytes: usize,
}

#[derive(Debug)]
struct Shard {
    entries: LruCache<Bytes, Option<Bytes>>,
    bytes: usize,
}

impl ReadCache {
    /// A cache of at most `limit_bytes`, its own overhead roughly included.
    pub(super) fn new(limit_bytes: usize) -> Self {
        let shard = || Mutex::new(Shard { entries: LruCache::unbounded(), bytes: 0 });
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), shard_limit_bytes: limit_bytes / SHARDS }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.shard(key).lock().entries.get(key).cloned()
    }

    pub(super) fn insert(&self, key: Bytes, value: Option<Bytes>) {
        let mut shard = self.shard(&key).lock();
        if value.as_ref().is_some_and(|value| value.len() > LARGEST_VALUE_BYTES) {
            if let Some((key, value)) = shard.entries.pop_entry(&key) {
                shard.bytes -= entry_bytes(&key, value.as_ref());
            }
            return;
        }
        shard.bytes += entry_bytes(&key, value.as_ref());
        if let Some((key, value)) = shard.entries.push(key, value) {
            shard.bytes -= entry_bytes(&key, value.as_ref());
        }
        while shard.bytes > self.shard_limit_bytes {
            let Some((key, value)) = shard.entries.pop_lru() else { break };
            shard.bytes -= entry_bytes(&key, value.as_ref());
        }
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.entries.clear();
            shard.bytes = 0;
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        &self.shards[xxh3_64(key) as usize % SHARDS]
    }
}

fn entry_bytes(key: &Bytes, value: Option<&Bytes>) -> usize {
    ENTRY_OVERHEAD_BYTES + key.len() + value.map_or(0, Bytes::len)
}
