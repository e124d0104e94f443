//! Chunkservers and the copies of chunks on them: who is there, who gets a new copy, what is repaired, reconciled, deleted.
//!
//! Two kinds of knowledge meet here. *Who is a member of a chunk*, and at which version, is durable: it stands in the chunk's
//! record and changes by commands only. *Where a member is, whether it is up and what it holds* is soft: the [`Registry`] learns it
//! from registrations, reports and heartbeats. Membership alone decides who holds current data; versions only fence off writers
//! that have not heard of a change. `docs/decisions/0002-chunk-membership.md` says why.
//!
//! | file | what it decides or does |
//! |---|---|
//! | [`state`], [`server`], [`registry`], [`copies`], [`dirty`] | what is known of the servers |
//! | [`placement`] | who gets a new chunk |
//! | [`locate`] | where a chunk is, for clients |
//! | [`members`], [`replace`] | changing who is a member, and after a failed write |
//! | [`reports`], [`strays`], [`left`], [`orders`], [`garbage`] | what servers report, and which of it may go |
//! | [`repair`], [`damage`] | missing, damaged, surplus copies; and what could not be repaired |
//! | [`balance`] | how full servers are |
//! | [`reconcile`] | copies whose writer is gone |
//! | [`fencing`] | writers that are given up |
//! | [`simulate`] | what would be if servers failed, were drained, or came |
//!
//! Decisions are functions of values; what carries them out is thin, and calls chunkservers through [`peers::Peers`].

pub mod balance;
pub mod busy;
pub mod copies;
pub mod damage;
pub mod dirty;
pub mod fencing;
pub mod garbage;
pub mod left;
pub mod locate;
pub mod members;
pub mod orders;
pub mod peers;
pub mod placement;
pub mod reconcile;
pub mod registry;
pub mod repair;
pub mod replace;
pub mod reports;
pub mod server;
pub mod simulate;
pub mod state;
pub mod strays;

use std::sync::Arc;

use cairn_proto::admin::ServerMode;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ServerId};
use cairn_proto::policy::{Placement, PlacementId};
use cairn_runtime::clock::Clock;

use crate::Moment;
use crate::command::Internal;
use crate::namespace::chunk::Chunk;
use crate::namespace::query;
use crate::state::State;
use balance::BalanceSettings;
use busy::Busy;
use damage::Damage;
use left::Left;
use orders::Orders;
use peers::Peers;
use placement::Demand;
use registry::Registry;
use repair::RepairQueue;
use repair::throttle::Throttle;
use replace::Accusations;

/// What everything in this module works on.
#[derive(Debug)]
pub struct Cluster {
    pub state: Arc<State>,
    pub registry: Registry,
    pub busy: Arc<Busy>,
    pub orders: Orders,
    pub left: Left,
    pub repairs: RepairQueue,
    pub damage: Damage,
    pub throttle: Throttle,
    pub balance: BalanceSettings,
    pub accusations: Accusations,
    pub peers: Arc<dyn Peers>,
    pub clock: Arc<dyn Clock>,
    /// Bytes that a server must have free to get a new copy.
    pub placement_reserve: u64,
}

impl Cluster {
    pub fn now(&self) -> Moment {
        self.clock.monotonic()
    }

    /// The chunk's record, or `None` where it is gone.
    pub fn chunk(&self, handle: ChunkHandle) -> Result<Option<Chunk>, FsError> {
        self.state.read(|read| query::chunk(read, handle))
    }

    /// Says what is to become of a server, durably. `NotFound` where it is not known.
    pub async fn set_mode(&self, server: ServerId, mode: ServerMode) -> Result<(), FsError> {
        self.state.internal(Internal::SetServerMode { server, mode }).await?;
        self.registry.set_mode(server, mode, self.state.wall(), self.now());
        Ok(())
    }

    /// What a placement says that chunks and inodes name.
    pub fn placement(&self, id: PlacementId) -> Result<Placement, FsError> {
        self.state.read(|read| query::placement(read, id))
    }

    /// Distinct servers for the copies of a new chunk.
    pub fn place_new(&self, copies: u8, placement: &Placement) -> Result<Vec<ServerId>, FsError> {
        self.place(&Demand { copies, placement, beside: &[], exclude: &[], reserve: self.placement_reserve })
    }

    /// Servers for what is demanded; see [`placement::choose`].
    pub fn place(&self, demand: &Demand<'_>) -> Result<Vec<ServerId>, FsError> {
        let roster = self.registry.roster(self.now());
        let chosen = placement::choose(&roster, demand, &mut rand::rng())?;
        self.registry.count_placed(&chosen);
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests;
