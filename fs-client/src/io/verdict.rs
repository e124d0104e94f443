//! What a writer does about a failed call to a chain. Pure: who is at fault, and what helps.

use cairn_proto::error::{ChainFailure, ChunkError};
use cairn_proto::ids::ServerId;
use cairn_proto::transport::CallFailure;

use super::error::CallError;

/// How to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The same again while `server` is given a moment; when that does not help, replace it.
    Patiently { server: ServerId },
    /// The location is old: ask for it, and try there.
    Relocate,
    /// Report the server and go on without it.
    Replace { server: ServerId, full: bool },
    /// Nothing that helps.
    GiveUp,
}

/// Whether a call may have been carried out, or still be, without an answer.
///
/// A write that was lost on the way can still reach a disk after its repetition, and after what was written over it since. The
/// new version that comes with a new chain fences it off; nothing else does. What changes no bytes can simply be repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Repeat {
    UnderANewVersion,
    Freely,
}

/// Judges `error`, the answer of a chain whose head is `head`.
pub(super) fn judge(error: &CallError, head: ServerId, repeat: Repeat) -> Verdict {
    match error {
        CallError::Chunk(error) => judge_refusal(error, head),
        CallError::Transport { failure, .. } => match (failure, repeat) {
            (CallFailure::Unsendable, _) => Verdict::GiveUp,
            // Nothing was done.
            (CallFailure::Refused | CallFailure::NotSent, _) => Verdict::Patiently { server: head },
            (CallFailure::Lost, Repeat::Freely) => Verdict::Patiently { server: head },
            (CallFailure::Lost | CallFailure::TimedOut, _) => Verdict::Replace { server: head, full: false },
        },
        CallError::Protocol(_) => Verdict::Replace { server: head, full: false },
    }
}

fn judge_refusal(error: &ChunkError, server: ServerId) -> Verdict {
    match error {
        ChunkError::VersionFenced { .. } => Verdict::Relocate,
        ChunkError::DamagedInTransit { .. } => Verdict::Patiently { server },
        ChunkError::NoSpace => Verdict::Replace { server, full: true },
        ChunkError::NotFound(_)
        | ChunkError::VersionStale { .. }
        | ChunkError::DamagedOnDisk { .. }
        | ChunkError::Disk(_)
        | ChunkError::Stopping => Verdict::Replace { server, full: false },
        // Those who wrote it are told when this mount has heard of it.
        ChunkError::Malformed(_) | ChunkError::SessionFenced(_) => Verdict::GiveUp,
        ChunkError::Chain { server, cause } => match cause {
            // The head has answered, so nothing is under way any more at its end; the member behind is another matter.
            ChainFailure::Unreachable(_) => Verdict::Replace { server: *server, full: false },
            ChainFailure::Refused(cause) => judge_refusal(cause, *server),
        },
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::ids::{ChunkHandle, ChunkVersion};

    use super::*;

    #[test]
    fn blames_whoever_failed() {
        let (head, tail) = (ServerId::random(), ServerId::random());
        let judged = |error: ChunkError| judge(&error.into(), head, Repeat::UnderANewVersion);
        let behind = |cause| judged(ChunkError::Chain { server: tail, cause });
        let (handle, v) = (ChunkHandle(1), ChunkVersion::FIRST);
        assert_eq!(judged(ChunkError::NoSpace), Verdict::Replace { server: head, full: true });
        assert_eq!(judged(ChunkError::Disk("x".into())), Verdict::Replace { server: head, full: false });
        let refused = |e| behind(ChainFailure::Refused(Box::new(e)));
        assert_eq!(refused(ChunkError::NoSpace), Verdict::Replace { server: tail, full: true });
        assert_eq!(refused(ChunkError::VersionFenced { handle, asked: v, have: v }), Verdict::Relocate);
        assert_eq!(refused(ChunkError::DamagedInTransit { handle, block: 1 }), Verdict::Patiently { server: tail });
        assert_eq!(behind(ChainFailure::Unreachable("x".into())), Verdict::Replace { server: tail, full: false });
        assert_eq!(judged(ChunkError::Malformed("x".into())), Verdict::GiveUp);
    }

    #[test]
    fn a_lost_write_is_fenced_off_before_it_is_repeated() {
        let head = ServerId::random();
        let judged = |failure, repeat| judge(&CallError::Transport { failure, detail: String::new() }, head, repeat);
        for failure in [CallFailure::Lost, CallFailure::TimedOut] {
            let replace = Verdict::Replace { server: head, full: false };
            assert_eq!(judged(failure, Repeat::UnderANewVersion), replace);
        }
        assert_eq!(judged(CallFailure::NotSent, Repeat::UnderANewVersion), Verdict::Patiently { server: head });
        assert_eq!(judged(CallFailure::Lost, Repeat::Freely), Verdict::Patiently { server: head });
        assert_eq!(judged(CallFailure::Unsendable, Repeat::Freely), Verdict::GiveUp);
    }
}
