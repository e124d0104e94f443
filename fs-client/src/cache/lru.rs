//! A least-recently-used map that several threads use at once.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;

/// Parts with a lock of their own. A power of two.
const SHARDS: usize = 32;

/// [`LruCache`]s side by side, each key in one of them. Recency is kept per part, which is as good in practice.
pub struct ShardedLru<K: Hash + Eq, V> {
    shards: Box<[Mutex<LruCache<K, V>>]>,
    hasher: RandomState,
}

impl<K: Hash + Eq, V> ShardedLru<K, V> {
    /// Room for about `capacity` entries, at least one per part.
    pub fn new(capacity: usize) -> Self {
        let each = NonZeroUsize::new(capacity / SHARDS).unwrap_or(NonZeroUsize::MIN);
        Self { shards: (0..SHARDS).map(|_| Mutex::new(LruCache::new(each))).collect(), hasher: RandomState::new() }
    }

    /// Runs `f` on the part that holds `key`, under its lock: keep it short.
    pub fn with<R>(&self, key: &K, f: impl FnOnce(&mut LruCache<K, V>) -> R) -> R {
        let shard = self.hasher.hash_one(key) as usize & (SHARDS - 1);
        f(&mut self.shards[shard].lock())
    }

    /// A copy of the value, which becomes the most recently used.
    pub fn get(&self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        self.with(key, |shard| shard.get(key).cloned())
    }

    pub fn put(&self, key: K, value: V) {
        self.push(key, value);
    }

    /// Enters a value, and answers what had to go for it: the least recently used entry, or the key's own one.
    pub fn push(&self, key: K, value: V) -> Option<(K, V)> {
        let shard = self.hasher.hash_one(&key) as usize & (SHARDS - 1);
        self.shards[shard].lock().push(key, value)
    }

    pub fn remove(&self, key: &K) -> Option<V> {
        self.with(key, |shard| shard.pop(key))
    }

    /// Goes through all entries, without making any of them the most recently used.
    pub fn for_each_mut(&self, mut f: impl FnMut(&K, &mut V)) {
        for shard in &self.shards {
            shard.lock().iter_mut().for_each(|(key, value)| f(key, value));
        }
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn clear(&self) {
        for shard in &self.shards {
            shard.lock().clear();
        }
    }
}

impl<K: Hash + Eq, V> fmt::Debug for ShardedLru<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardedLru").field("len", &self.len()).finish_non_exhaustive()
    }
}
