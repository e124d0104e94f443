//! Talking to other metaservers: there are none yet, and this says so.

use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{AnyError, BasicNode};

use super::types::{NodeId, TypeConfig};

/// Makes a [`Nowhere`] for every peer.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct NoPeers;

/// A peer that is never reached: openraft backs off and tries again, as for one that is down.
#[derive(Debug)]
pub(super) struct Nowhere {
    target: NodeId,
}

impl RaftNetworkFactory<TypeConfig> for NoPeers {
    type Network = Nowhere;

    async fn new_client(&mut self, target: NodeId, _node: &BasicNode) -> Nowhere {
        Nowhere { target }
    }
}

impl Nowhere {
    fn unreachable(&self) -> Unreachable {
        AnyError::error(format!("metaserver {}: clusters of several metaservers are not supported yet", self.target))
            .into()
    }
}

type Failure<E = RaftError<NodeId>> = RPCError<NodeId, BasicNode, E>;

impl RaftNetwork<TypeConfig> for Nowhere {
    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failure> {
        Err(self.unreachable().into())
    }

    async fn install_snapshot(
        &mut self,
        _request: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<NodeId>, Failure<RaftError<NodeId, InstallSnapshotError>>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<NodeId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Failure> {
        Err(self.unreachable().into())
    }
}
