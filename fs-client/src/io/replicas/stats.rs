//! What reading from the chunkservers has come to, in figures.

use cairn_proto::ids::ServerId;
use serde::Serialize;

use super::breaker::Change;
use super::choice::Distance;

/// How a mount reads, since it was mounted.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct ReadStats {
    /// Parts of chunks that chunkservers were read for, programs' reads and those ahead of them.
    pub reads: u64,
    /// Those that hold something that was read, in the order of their ids.
    pub servers: Vec<ServerReads>,
    pub hedges: HedgeStats,
    pub breakers: BreakerStats,
    /// Times that another server was asked because one had failed.
    pub failed_over: u64,
    /// Times that a read which waited for a server asked another one, because the first had been found to answer nothing.
    pub moved_on: u64,
}

/// One chunkserver.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct ServerReads {
    pub server: ServerId,
    pub distance: Distance,
    /// Until then its address alone says how far it is.
    pub labels_known: bool,
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// Reads that it was asked for.
    pub asked: u64,
    /// Microseconds that reads of up to 64 KiB take there, a moving average that fades. 0: not known.
    pub small_us: u64,
    /// The same of larger ones.
    pub large_us: u64,
}

/// Reads that were asked for at a second server because the first took long.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
pub struct HedgeStats {
    pub sent: u64,
    /// The second server answered first.
    pub won: u64,
    /// Reads that took long and had to wait: the budget was spent, or the next server was in no better state.
    pub held_back: u64,
    /// Microseconds after which a read of up to 64 KiB takes long.
    pub small_after_us: u64,
    /// The same of larger ones.
    pub large_after_us: u64,
}

/// Changes of the breakers of all servers.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug, Default)]
pub struct BreakerStats {
    pub opened: u64,
    /// Probes that were sent.
    pub half_opened: u64,
    /// Probes that failed.
    pub reopened: u64,
    pub closed: u64,
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub reads: u64,
    pub hedged: u64,
    pub won: u64,
    pub held_back: u64,
    pub failed_over: u64,
    pub moved_on: u64,
    breakers: BreakerStats,
}

impl Counts {
    pub(super) fn changed(&mut self, change: Change) {
        *match change {
            Change::Opened => &mut self.breakers.opened,
            Change::HalfOpened => &mut self.breakers.half_opened,
            Change::Reopened => &mut self.breakers.reopened,
            Change::Closed => &mut self.breakers.closed,
        } += 1;
    }

    pub(super) fn stats(&self, servers: Vec<ServerReads>, small_after_us: u64, large_after_us: u64) -> ReadStats {
        let Self { reads, hedged, won, held_back, failed_over, moved_on, breakers } = *self;
        let hedges = HedgeStats { sent: hedged, won, held_back, small_after_us, large_after_us };
        ReadStats { reads, servers, hedges, breakers, failed_over, moved_on }
    }
}
