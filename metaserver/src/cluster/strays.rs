//! Copies that nobody is supposed to hold: recognised when a server reports them, and when a chunk's members change.

use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ServerId};

use super::Cluster;
use super::copies::Copy;
use super::repair::{BadCopy, Complaint};
use super::state::Standing;
use crate::namespace::chunk::Chunk;

/// What the metadata says of a reported copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its server is a member.
    Member,
    /// The same, and the copy is of an older version: its server has not heard of the last change of members, or was given old files.
    MemberBehind,
    /// Its server is a member, and it ends before what was committed: what every member acknowledged it has lost.
    Short,
    /// It may go: the chunk is gone, or has all its copies elsewhere.
    Garbage,
    /// It is of no use now, but stays: its chunk is below target, or is being worked on, or the copy knows more than the metadata.
    Leave,
}

/// What a copy's fate depends on.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The record of its chunk; `None` where there is none.
    pub chunk: Option<&'a Chunk>,
    /// Members of the chunk that are up.
    pub up: usize,
    /// The handle was given out by this cluster.
    pub given_out: bool,
    /// The chunk's members are being changed.
    pub busy: bool,
}

/// Judges the copy on `server`. Deleting needs every reason; everything unclear stays.
pub fn judge(server: ServerId, copy: Copy, at: Circumstances<'_>) -> Verdict {
    let Some(chunk) = at.chunk else {
        // Handles are never used again: a chunk of ours without a record is gone for good.
        return if at.given_out && !at.busy { Verdict::Garbage } else { Verdict::Leave };
    };
    if chunk.members.contains(&server) {
        return match copy {
            _ if copy.length < chunk.length => Verdict::Short,
            _ if copy.version < chunk.version => Verdict::MemberBehind,
            _ => Verdict::Member,
        };
    }
    // A copy above its record: metadata that were set back. The data may be all there is.
    let is_newer = copy.version > chunk.version;
    if at.busy || is_newer || !at.given_out || at.up < usize::from(chunk.target) {
        return Verdict::Leave;
    }
    Verdict::Garbage
}

/// Judges one reported copy.
pub fn look_at(cluster: &Cluster, server: ServerId, handle: ChunkHandle, copy: Copy) -> Result<Verdict, FsError> {
    // The order matters: a repair that starts after the first look shows in the record of the second only by its end.
    let busy = cluster.busy.contains(handle);
    let chunk = cluster.chunk(handle)?;
    let at = Circumstances {
        chunk: chunk.as_ref(),
        up: chunk.as_ref().map_or(0, |chunk| members_up(cluster, chunk)),
        given_out: cluster.state.has_given_out(handle),
        busy: busy || cluster.busy.contains(handle),
    };
    Ok(judge(server, copy, at))
}

/// Judges one reported copy, and orders it deleted where it is garbage.
pub fn judge_reported(
    cluster: &Cluster,
    server: ServerId,
    handle: ChunkHandle,
    copy: Copy,
) -> Result<Verdict, FsError> {
    let verdict = look_at(cluster, server, handle, copy)?;
    if verdict != Verdict::Leave {
        cluster.left.forget(server, handle);
    }
    match verdict {
        Verdict::Garbage => cluster.orders.delete(server, handle, copy.version, cluster.now()),
        Verdict::Member | Verdict::MemberBehind => cluster.orders.forget(server, handle),
        Verdict::Short => {
            cluster.orders.forget(server, handle);
            cluster.repairs.complain(handle, Complaint { server, what: BadCopy::Short }, cluster.now());
        }
        Verdict::Leave if cluster.state.has_given_out(handle) => cluster.left.remember(server, handle),
        // For people to look at: nothing that passes would change the verdict.
        Verdict::Leave => {
            tracing::warn!(%handle, server = %cluster.registry.name(server), "a copy of a chunk that was never given out: left alone");
        }
    }
    Ok(verdict)
}

/// Judges all copies of a chunk, after its members have changed.
pub fn sweep(cluster: &Cluster, handle: ChunkHandle) -> Result<(), FsError> {
    let holders = cluster.registry.each(|server| server.copy(handle).map(|copy| (server.id, copy)));
    for (server, copy) in holders.into_iter().flatten() {
        judge_reported(cluster, server, handle, copy)?;
    }
    Ok(())
}

fn members_up(cluster: &Cluster, chunk: &Chunk) -> usize {
    let now = cluster.now();
    chunk.members.iter().filter(|&&member| cluster.registry.standing(member, now) == Standing::Up).count()
}

#[cfg(test)]
mod tests {
    use cairn_proto::chunkserver::ChunkState;
    use cairn_proto::ids::{ChunkIndex, ChunkVersion, InodeId};
    use uuid::Uuid;

    use super::*;

    const MEMBER: ServerId = ServerId(Uuid::from_u128(1));
    const OTHER: ServerId = ServerId(Uuid::from_u128(2));

    fn copy(version: u32) -> Copy {
        Copy { version: ChunkVersion(version), length: 1, state: ChunkState::Clean, disk: Default::default() }
    }

    fn chunk(version: u32, target: u8) -> Chunk {
        Chunk {
            version: ChunkVersion(version),
            members: vec![MEMBER],
            inode: InodeId(2),
            index: ChunkIndex(0),
            target,
            placement: Default::default(),
            length: 1,
            allocated: 4096,
            refs: 1,
        }
    }

    #[test]
    fn a_member_is_a_member_whatever_else() {
        let chunk = chunk(3, 1);
        let at = Circumstances { chunk: Some(&chunk), up: 0, given_out: false, busy: true };
        assert_eq!(judge(MEMBER, copy(1), at), Verdict::MemberBehind);
        assert_eq!(judge(MEMBER, copy(3), at), Verdict::Member);
        assert_eq!(judge(MEMBER, copy(9), at), Verdict::Member);
        assert_eq!(judge(MEMBER, Copy { length: 0, ..copy(3) }, at), Verdict::Short);
    }

    #[test]
    fn deleted_only_when_every_reason_is_there() {
        let chunk = chunk(3, 1);
        let sure = Circumstances { chunk: Some(&chunk), up: 1, given_out: true, busy: false };
        assert_eq!(judge(OTHER, copy(3), sure), Verdict::Garbage);
        for unsure in [
            Circumstances { up: 0, ..sure },
            Circumstances { given_out: false, ..sure },
            Circumstances { busy: true, ..sure },
        ] {
            assert_eq!(judge(OTHER, copy(3), unsure), Verdict::Leave, "{unsure:?}");
        }
        assert_eq!(judge(OTHER, copy(4), sure), Verdict::Leave);
    }

    #[test]
    fn without_a_record_only_what_was_given_out_goes() {
        let gone = Circumstances { chunk: None, up: 0, given_out: true, busy: false };
        assert_eq!(judge(OTHER, copy(1), gone), Verdict::Garbage);
        assert_eq!(judge(OTHER, copy(1), Circumstances { given_out: false, ..gone }), Verdict::Leave);
    }
}
