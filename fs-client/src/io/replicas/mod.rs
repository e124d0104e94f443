//! Which copy of a chunk to read, and when to ask another one, too: what this client knows of the chunkservers as a reader.
//!
//! What is decided is pure, in [`breaker`], [`latency`], [`hedging`] and [`choice`]; this is the table of servers that it is decided by.
//! The calls themselves are made in [`super::ask`]. `docs/decisions/0008-whom-to-read-from.md` says why it is as it is.

mod breaker;
mod choice;
mod hedging;
mod latency;
mod stats;

#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::chunk::{ChunkLocation, Replica};
use cairn_proto::ids::ServerId;
use cairn_proto::labels::{Domain, Labels};
use cairn_proto::meta::ServerPlace;
use cairn_proto::transport::Endpoint;
use cairn_runtime::clock::Clock;
use lru::LruCache;
use parking_lot::Mutex;

use super::config::IoConfig;
use breaker::{Admission, Breaker, Change};
use choice::Candidate;
use hedging::Hedging;
use latency::{Estimate, SizeClass};
use stats::Counts;

pub use breaker::BreakerLimits;
pub(super) use breaker::Moment;
pub use choice::Distance;
pub use hedging::HedgeLimits;
pub use stats::{BreakerStats, HedgeStats, ReadStats, ServerReads};

/// Bytes that one copy is read for before another one may get its turn: long enough for the server's own read-ahead.
const STRIPE_BYTES: u32 = 8 << 20;

/// Servers remembered at most.
const MAX_SERVERS: NonZeroUsize = NonZeroUsize::new(8192).expect("not zero");

/// The metaserver is asked again where a server stands that is read from for longer than that: it may have been moved.
const PLACE_AGE: Duration = Duration::from_secs(300);

/// Before the metaserver is asked again after it could not say.
const PLACE_RETRY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Replicas {
    /// Where this mount stands.
    labels: Labels,
    breaker: BreakerLimits,
    clock: Arc<dyn Clock>,
    /// Differs from client to client, so that they do not all read the same copy.
    salt: u64,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    servers: LruCache<ServerId, Peer>,
    hedging: Hedging,
    counts: Counts,
    /// The metaserver is not asked where servers stand before: it is being asked, or could not say.
    ask_from: Moment,
}

/// One chunkserver.
#[derive(Debug)]
struct Peer {
    distance: Distance,
    /// Reached by a socket of this machine, whatever labels say.
    is_here: bool,
    /// When its labels were learned.
    placed_at: Option<Moment>,
    breaker: Breaker,
    /// By the size of reads.
    estimates: [Estimate; SizeClass::ALL.len()],
    /// Reads that it was asked for.
    asked: u64,
}

/// Whom to ask for a part of a chunk.
#[derive(Debug)]
pub(super) struct Plan {
    order: std::vec::IntoIter<Candidate>,
    /// How long to wait for one server alone.
    pub(super) hedge_after: Duration,
    /// The first one is on probation: the next one is asked at the same time, so that nobody waits for it.
    pub(super) probe: bool,
    /// The metaserver is to be asked where these stand.
    pub(super) strangers: Vec<ServerId>,
}

/// Why a second server may be asked while the first one is silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Second {
    /// The budget allows for it.
    Hedge,
    /// The first one has been found to say nothing meanwhile.
    MoveOn,
    /// It may not: there is no budget, or the next one is in no better state.
    No,
}

impl Replicas {
    pub(super) fn new(config: &IoConfig, clock: Arc<dyn Clock>) -> Self {
        let known = Known {
            servers: LruCache::new(MAX_SERVERS),
            hedging: Hedging::new(config.hedging),
            counts: Counts::default(),
            ask_from: Moment::ZERO,
        };
        let (labels, breaker) = (config.labels.clone(), config.breaker);
        Self { labels, breaker, clock, salt: rand::random(), known: Mutex::new(known) }
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.monotonic()
    }

    /// A read of `len` bytes at `offset` of a chunk begins: the first server of the plan is asked next.
    pub(super) fn plan(&self, location: &ChunkLocation, offset: u32, len: u32) -> Plan {
        self.plan_with(location, offset, len, true)
    }

    /// In which order to ask for anything else about a chunk.
    pub(super) fn order(&self, location: &ChunkLocation) -> Plan {
        self.plan_with(location, 0, 0, false)
    }

    fn plan_with(&self, location: &ChunkLocation, offset: u32, len: u32, is_read: bool) -> Plan {
        let now = self.now();
        let size = SizeClass::of(len);
        let mut known = self.known.lock();
        if is_read {
            known.counts.reads += 1;
            known.hedging.earn();
        }
        let may_ask = is_read && now >= known.ask_from;
        let mut strangers = Vec::new();
        let mut candidates: Vec<Candidate> = Vec::with_capacity(location.replicas.len());
        for (member, replica) in location.replicas.iter().enumerate() {
            let peer = known.peer(replica, &self.labels);
            if may_ask && peer.placed_at.is_none_or(|at| now.saturating_sub(at) >= PLACE_AGE) {
                strangers.push(replica.server);
            }
            candidates.push(Candidate {
                member,
                admission: match peer.breaker.admission(now, &self.breaker) {
                    Admission::Due(hold) if !is_read => Admission::Open(hold),
                    admission => admission,
                },
                up: replica.up,
                distance: peer.distance,
                estimate: peer.estimates[size as usize].at(now),
                turn: self.turn(location, offset, replica.server),
            });
        }
        if !strangers.is_empty() {
            known.ask_from = Moment::MAX;
        }
        let probe = choice::order(&mut candidates);
        if let (true, Some(first)) = (probe, candidates.first()) {
            known.change(location.replicas[first.member].server, |peer| peer.breaker.probe(now));
        }
        Plan { order: candidates.into_iter(), hedge_after: known.hedging.delay(size), probe, strangers }
    }

    fn turn(&self, location: &ChunkLocation, offset: u32, server: ServerId) -> u32 {
        let mut hasher = DefaultHasher::new();
        (self.salt, location.id.handle, offset / STRIPE_BYTES, server).hash(&mut hasher);
        hasher.finish() as u32
    }

    /// Whether to ask `next` as well, while `first` has not answered yet.
    pub(super) fn second(&self, first: ServerId, next: ServerId) -> Second {
        let mut known = self.known.lock();
        let is_sound =
            |known: &Known, server: ServerId| known.servers.peek(&server).is_none_or(|peer| peer.breaker.is_closed());
        if !is_sound(&known, next) {
            Second::No
        } else if !is_sound(&known, first) {
            known.counts.moved_on += 1;
            Second::MoveOn
        } else if known.hedging.spend() {
            known.counts.hedged += 1;
            Second::Hedge
        } else {
            Second::No
        }
    }

    /// A read would have been hedged, had there been budget.
    pub(super) fn held_back(&self) {
        self.known.lock().counts.held_back += 1;
    }

    /// Another server is asked, after one has failed.
    pub(super) fn failed_over(&self) {
        self.known.lock().counts.failed_over += 1;
    }

    /// A server is asked, as of now.
    pub(super) fn asked(&self, server: ServerId) -> Moment {
        if let Some(peer) = self.known.lock().servers.get_mut(&server) {
            peer.asked += 1;
        }
        self.now()
    }

    /// A server has answered a read of `len` bytes that it was asked for at `began`.
    pub(super) fn answered(&self, server: ServerId, len: u32, began: Moment) {
        let now = self.now();
        let (took, size) = (now.saturating_sub(began), SizeClass::of(len));
        let mut known = self.known.lock();
        known.hedging.learn(size, took);
        known.change(server, |peer| {
            peer.estimates[size as usize].learn(took, now);
            peer.breaker.answered(now)
        });
    }

    /// A call that began at `began` has failed. Answers whether that is news.
    pub(super) fn failed(&self, server: ServerId, began: Moment) -> bool {
        let now = self.now();
        let failed = |peer: &mut Peer| peer.breaker.failed(began, now, &self.breaker);
        self.known.lock().change(server, failed) == Some(Change::Opened)
    }

    /// Who was asked second, as a hedge, has answered first, and `silent`, who was asked before, not yet.
    pub(super) fn hedge_won(&self, silent: Option<ServerId>) {
        let now = self.now();
        let mut known = self.known.lock();
        known.counts.won += 1;
        let Some(server) = silent else { return };
        if known.change(server, |peer| peer.breaker.overtaken(now, &self.breaker)).is_some() {
            tracing::info!(%server, "a chunkserver answers no reads: it is asked last until it does");
        }
    }

    /// The metaserver has said where these servers stand. Those that it does not know are where they seemed to be.
    pub(super) fn placed(&self, asked: &[ServerId], places: &[ServerPlace]) {
        let now = self.now();
        let mut known = self.known.lock();
        known.ask_from = now;
        for server in asked {
            let Some(peer) = known.servers.peek_mut(server) else { continue };
            peer.placed_at = Some(now);
            if let (false, Some(place)) = (peer.is_here, places.iter().find(|place| place.server == *server)) {
                peer.distance = Distance::between(&self.labels, &place.labels);
            }
        }
    }

    /// The metaserver could not say it.
    pub(super) fn not_placed(&self) {
        self.known.lock().ask_from = self.now() + PLACE_RETRY;
    }

    pub(super) fn stats(&self) -> ReadStats {
        let now = self.now();
        let known = self.known.lock();
        let delay_us = |size| known.hedging.delay(size).as_micros() as u64;
        let mut servers: Vec<_> = known.servers.iter().map(|(server, peer)| peer.stats(*server, now)).collect();
        servers.sort_by_key(|server| server.server);
        known.counts.stats(servers, delay_us(SizeClass::Small), delay_us(SizeClass::Large))
    }
}

impl Known {
    fn peer(&mut self, replica: &Replica, ours: &Labels) -> &mut Peer {
        self.servers.get_or_insert_mut(replica.server, || Peer::new(&replica.endpoint, ours))
    }

    fn change(&mut self, server: ServerId, change: impl FnOnce(&mut Peer) -> Option<Change>) -> Option<Change> {
        let changed = change(self.servers.peek_mut(&server)?)?;
        tracing::debug!(%server, ?changed, "the breaker of a chunkserver");
        self.counts.changed(changed);
        Some(changed)
    }
}

impl Peer {
    /// One whose labels are not known yet: its address may say that it is on this machine.
    fn new(endpoint: &Endpoint, ours: &Labels) -> Self {
        let is_here = matches!(endpoint, Endpoint::Unix(_));
        let named = |host: &str| ours.domain(Domain::Host) == Some(host);
        let seems_here = endpoint.is_local() || matches!(endpoint, Endpoint::Tcp { host, .. } if named(host));
        Self {
            distance: if seems_here { Distance::Host } else { Distance::Elsewhere },
            is_here,
            placed_at: None,
            breaker: Breaker::default(),
            estimates: Default::default(),
            asked: 0,
        }
    }

    fn stats(&self, server: ServerId, now: Moment) -> ServerReads {
        let estimate_us = |size: SizeClass| self.estimates[size as usize].at(now).as_micros() as u64;
        ServerReads {
            server,
            distance: self.distance,
            labels_known: self.placed_at.is_some(),
            breaker: self.breaker.name(),
            asked: self.asked,
            small_us: estimate_us(SizeClass::Small),
            large_us: estimate_us(SizeClass::Large),
        }
    }
}

impl Plan {
    /// The next member of the chunk to ask.
    pub(super) fn take_next(&mut self) -> Option<usize> {
        self.order.next().map(|candidate| candidate.member)
    }

    /// The same, if nothing speaks against its server.
    pub(super) fn take_sound(&mut self) -> Option<usize> {
        let next = self.order.as_slice().first()?;
        if next.admission == Admission::Closed { self.take_next() } else { None }
    }

    /// Without taking it.
    pub(super) fn next(&self) -> Option<usize> {
        self.order.as_slice().first().map(|candidate| candidate.member)
    }
}
