//! Where the chunks of one file are: a cache in front of the metaserver.
//!
//! A location is used until something shows that it is old: a server that fences a write off or has no such chunk, a truncate,
//! a change by another mount. An answer that was asked for before the file's locations were dropped is not remembered.

use std::num::NonZeroUsize;
use std::sync::Arc;

use cairn_proto::chunk::ChunkLocation;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, InodeId, ServerId};
use cairn_proto::meta::MAX_CHUNKS_PER_CALL;
use lru::LruCache;
use parking_lot::Mutex;

use super::error::MetaError;
use super::meta_io::MetaIo;

/// The chunk locations of one file.
pub(super) struct Locations {
    inode: InodeId,
    meta: Arc<dyn MetaIo>,
    known: Mutex<Known>,
}

struct Known {
    chunks: LruCache<ChunkIndex, Arc<Place>>,
    /// Raised whenever locations are dropped: see [`Place::set`].
    generation: u64,
}

/// What is known about one chunk of the file.
#[derive(Debug, Default)]
struct Place {
    /// Held while the metaserver is asked about this chunk, so that it is asked once.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Unknown,
    /// The file has no such chunk.
    Hole,
    At(Arc<ChunkLocation>),
}

impl Locations {
    /// `limit`: chunks remembered at most.
    pub(super) fn new(inode: InodeId, meta: Arc<dyn MetaIo>, limit: usize) -> Self {
        let limit = NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN);
        Self { inode, meta, known: Mutex::new(Known { chunks: LruCache::new(limit), generation: 0 }) }
    }

    /// Remembers what came along with the answer to `open`. For a file of which nothing else is known.
    pub(super) fn learn(&self, locations: &[ChunkLocation]) {
        for location in locations {
            *self.place(location.id.index).0.state.lock() = State::At(Arc::new(location.clone()));
        }
    }

    /// The location as far as it is known. `Some(None)`: a hole.
    pub(super) fn peek(&self, index: ChunkIndex) -> Option<Option<Arc<ChunkLocation>>> {
        let place = self.known.lock().chunks.get(&index).cloned()?;
        let state = place.state.lock().clone();
        match state {
            State::Unknown => None,
            State::Hole => Some(None),
            State::At(location) => Some(Some(location)),
        }
    }

    /// The location of a chunk; `None` where the file has none. Asks for the chunks behind it, up to `last`, on the same way.
    pub(super) async fn locate(
        &self,
        index: ChunkIndex,
        last: ChunkIndex,
    ) -> Result<Option<Arc<ChunkLocation>>, MetaError> {
        if let Some(known) = self.peek(index) {
            return Ok(known);
        }
        let (place, generation) = self.place(index);
        let _turn = place.turn.lock().await;
        if let Some(known) = self.peek(index) {
            return Ok(known);
        }
        let count = (last.0.saturating_sub(index.0)).saturating_add(1).min(MAX_CHUNKS_PER_CALL);
        let mut found = self.meta.locate(self.inode, index, count).await?;
        found.retain(is_usable);
        found.sort_by_key(|location| location.id.index);
        let mut answer = None;
        let mut found = found.into_iter().map(Arc::new).peekable();
        for i in 0..count {
            let at = ChunkIndex(index.0 + i);
            let location = found.next_if(|location| location.id.index == at);
            if i == 0 {
                answer = location.clone();
            }
            let state = location.map_or(State::Hole, State::At);
            if i == 0 {
                self.set(&place, generation, state);
            } else if self.peek(at).is_none() {
                self.set(&self.place(at).0, generation, state);
            }
        }
        Ok(answer)
    }

    /// The location of a chunk, which is created where the file has none.
    pub(super) async fn allocate(&self, index: ChunkIndex) -> Result<Arc<ChunkLocation>, MetaError> {
        if let Some(Some(location)) = self.peek(index) {
            return Ok(location);
        }
        let (place, generation) = self.place(index);
        let _turn = place.turn.lock().await;
        if let Some(Some(location)) = self.peek(index) {
            return Ok(location);
        }
        let found = self.meta.allocate(self.inode, index, 1).await?;
        let location = found.into_iter().find(|location| location.id.index == index && is_usable(location));
        // An answer without what was asked for is like none.
        let location = location.map(Arc::new).ok_or(MetaError::Unreachable)?;
        self.set(&place, generation, State::At(location.clone()));
        Ok(location)
    }

    /// A new chain without `failed`, unless somebody else has got one meanwhile. `held`: see [`MetaIo::replace_failed`].
    pub(super) async fn replace(
        &self,
        seen: &ChunkLocation,
        failed: Vec<ServerId>,
        held: u32,
    ) -> Result<Arc<ChunkLocation>, MetaError> {
        let index = seen.id.index;
        let (place, generation) = self.place(index);
        let _turn = place.turn.lock().await;
        if let Some(Some(now)) = self.peek(index)
            && (now.id.handle != seen.id.handle || now.id.version > seen.id.version)
        {
            return Ok(now);
        }
        let id = seen.id;
        let location = self.meta.replace_failed(self.inode, index, id.handle, id.version, failed, held).await?;
        if !is_usable(&location) {
            return Err(MetaError::Unreachable);
        }
        let location = Arc::new(location);
        self.set(&place, generation, State::At(location.clone()));
        Ok(location)
    }

    /// Runs `clear` (which zeroes the chunk from `cut` on, on all replicas) once, and tells the metaserver.
    pub(super) async fn clear_trim<E, F>(&self, seen: &ChunkLocation, cut: u32, clear: F) -> Result<(), E>
    where
        E: From<MetaError>,
        F: Future<Output = Result<(), E>>,
    {
        let (place, generation) = self.place(seen.id.index);
        let _turn = place.turn.lock().await;
        match self.peek(seen.id.index) {
            Some(Some(now)) if now.id == seen.id && now.trimmed_at == Some(cut) => {}
            // Not what the caller saw: it looks again.
            _ => return Ok(()),
        }
        clear.await?;
        self.meta.clear_trim(self.inode, seen.id.index, seen.id.handle, cut).await?;
        let location = ChunkLocation { trimmed_at: None, ..seen.clone() };
        self.set(&place, generation, State::At(Arc::new(location)));
        Ok(())
    }

    /// Bytes up to `length` of a chunk are known to be written.
    pub(super) fn grow(&self, index: ChunkIndex, handle: ChunkHandle, length: u32) {
        let Some(place) = self.known.lock().chunks.peek(&index).cloned() else { return };
        let mut state = place.state.lock();
        if let State::At(location) = &mut *state
            && location.id.handle == handle
            && location.length < length
        {
            Arc::make_mut(location).length = length;
        }
    }

    /// Forgets `seen`, if it is what is known.
    pub(super) fn forget(&self, seen: &ChunkLocation) {
        let Some(place) = self.known.lock().chunks.peek(&seen.id.index).cloned() else { return };
        let mut state = place.state.lock();
        if matches!(&*state, State::At(now) if now.id == seen.id && now.replicas == seen.replicas) {
            *state = State::Unknown;
        }
    }

    /// Forgets all chunks from `first` on.
    pub(super) fn forget_from(&self, first: ChunkIndex) {
        let mut known = self.known.lock();
        known.generation += 1;
        let gone: Vec<ChunkIndex> =
            known.chunks.iter().map(|(index, _)| *index).filter(|index| *index >= first).collect();
        for index in gone {
            if let Some(place) = known.chunks.pop(&index) {
                *place.state.lock() = State::Unknown;
            }
        }
    }

    /// The place of a chunk, and the generation to [set](Self::set) it by.
    fn place(&self, index: ChunkIndex) -> (Arc<Place>, u64) {
        let mut known = self.known.lock();
        let place = known.chunks.get_or_insert(index, Arc::default).clone();
        (place, known.generation)
    }

    fn set(&self, place: &Place, generation: u64, state: State) {
        // Held over both, so that dropping locations and learning them do not cross.
        let known = self.known.lock();
        if known.generation == generation {
            *place.state.lock() = state;
        }
    }
}

/// A location without replicas breaks the protocol; it must not break the reader of it.
fn is_usable(location: &ChunkLocation) -> bool {
    !location.replicas.is_empty()
}

impl std::fmt::Debug for Locations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locations").field("inode", &self.inode).finish_non_exhaustive()
    }
}
