//! Chunks that no file has any more: their copies are deleted, then they are forgotten.

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::ids::ChunkHandle;
use cairn_runtime::worker::{WorkError, WorkState, Worker};

use super::registry::MemberView;
use super::state::Standing;
use super::{Cluster, strays};
use crate::command::Internal;
use crate::namespace::garbage::Garbage;
use crate::namespace::query;

/// Chunks looked at in one unit of work.
const PAGE_CHUNKS: usize = 1024;
/// Between two passes over the garbage.
const PAUSE: Duration = Duration::from_secs(1);

/// What is left of a garbage chunk at one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// Nothing that has to be waited for: a server that is lost is told when it comes back.
    Gone,
    /// A copy that is there to be deleted.
    ToDelete,
    /// Nobody can say at present.
    Unknown,
}

/// Judges one former member.
pub fn remains(member: &MemberView) -> Remains {
    match (member.standing, member.copy) {
        (Standing::Lost, _) => Remains::Gone,
        (Standing::Up, Some(_)) => Remains::ToDelete,
        (Standing::Up, None) if member.reported => Remains::Gone,
        (Standing::Up, None) | (Standing::Away, _) => Remains::Unknown,
    }
}

/// Goes through the garbage, has copies deleted, and forgets chunks without any.
#[derive(Debug)]
pub struct GarbageWorker {
    cluster: Arc<Cluster>,
    after: ChunkHandle,
    waiting: usize,
}

impl GarbageWorker {
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, after: ChunkHandle(0), waiting: 0 }
    }

    /// Orders what is left to be deleted. Answers whether nothing is left.
    fn is_gone(&self, handle: ChunkHandle, garbage: &Garbage) -> bool {
        let now = self.cluster.now();
        let mut gone = true;
        for &server in &garbage.members {
            match remains(&self.cluster.registry.member(server, handle, now)) {
                Remains::Gone => {}
                Remains::Unknown => gone = false,
                Remains::ToDelete => {
                    gone = false;
                    self.cluster.orders.delete(server, handle, garbage.version, now);
                }
            }
        }
        gone
    }
}

impl Worker for GarbageWorker {
    fn name(&self) -> String {
        "garbage".to_owned()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        let page = self.cluster.state.read(|read| query::garbage(read, self.after, PAGE_CHUNKS))?;
        let gone: Vec<_> =
            page.iter().filter(|(handle, garbage)| self.is_gone(*handle, garbage)).map(|(handle, _)| *handle).collect();
        self.waiting = page.len() - gone.len();
        let is_last = page.len() < PAGE_CHUNKS;
        let dropped = gone.len();
        if dropped > 0 {
            self.cluster.state.internal(Internal::DropGarbage { handles: gone.clone() }).await?;
        }
        for handle in gone {
            // Whoever was away when it stopped being a member, or is lost: it may be heard of again without having to register anew.
            strays::sweep(&self.cluster, handle)?;
        }
        self.after = match page.last() {
            Some((handle, _)) if !is_last => *handle,
            _ => ChunkHandle(0),
        };
        Ok(if is_last { WorkState::Wait(PAUSE) } else { WorkState::Busy { cost: page.len() as u64 } })
    }

    fn detail(&self) -> Option<String> {
        Some(format!("{} chunks wait for their servers", self.waiting))
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::chunkserver::ChunkState;
    use cairn_proto::ids::{ChunkVersion, ServerId};
    use uuid::Uuid;

    use super::super::copies::Copy;
    use super::*;

    #[test]
    fn what_is_left() {
        let copy = Copy { version: ChunkVersion(1), length: 1, state: ChunkState::Clean, disk: Default::default() };
        let view = |standing, reported, copy| {
            let server = ServerId(Uuid::from_u128(1));
            remains(&MemberView { server, standing, reported, copy, place: None, leaving: false })
        };
        assert_eq!(view(Standing::Up, true, Some(copy)), Remains::ToDelete);
        assert_eq!(view(Standing::Up, true, None), Remains::Gone);
        assert_eq!(view(Standing::Up, false, None), Remains::Unknown);
        assert_eq!(view(Standing::Away, true, None), Remains::Unknown);
        assert_eq!(view(Standing::Away, true, Some(copy)), Remains::Unknown);
        assert_eq!(view(Standing::Lost, true, Some(copy)), Remains::Gone);
    }
}
