//! How far an `fsck` has come, as its caller carries it along.

use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ServerId};
use serde::{Deserialize, Serialize};

/// What the next page is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Where [`crate::namespace::check`] goes on.
    Namespace(Option<Vec<u8>>),
    Chunks {
        after: ChunkHandle,
    },
    /// `server`: the one whose copies are looked at, from `after` on; `None` before the first.
    Strays {
        server: Option<ServerId>,
        after: Option<ChunkHandle>,
    },
}

impl Stage {
    pub(super) const FIRST: Self = Self::Namespace(None);

    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a stage holds nothing that cannot be encoded")
    }

    /// `InvalidArgument` where it is none of ours.
    pub(super) fn decode(token: &[u8]) -> Result<Self, FsError> {
        postcard::from_bytes(token).map_err(|_| FsError::InvalidArgument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_there_and_back() {
        for stage in [
            Stage::FIRST,
            Stage::Namespace(Some(vec![1, 2])),
            Stage::Chunks { after: ChunkHandle(7) },
            Stage::Strays { server: Some(ServerId(uuid::Uuid::from_u128(3))), after: Some(ChunkHandle(1)) },
        ] {
            assert_eq!(Stage::decode(&stage.encode()), Ok(stage));
        }
        assert_eq!(Stage::decode(&[9]), Err(FsError::InvalidArgument));
    }
}
