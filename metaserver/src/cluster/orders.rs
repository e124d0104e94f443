//! Copies that chunkservers are to delete: sent with the replies to its heartbeats, after a grace time, until the server confirms.
//!
//! The grace time is for people: what was deleted by mistake, or by a fault, can still be found on the disks. A server that
//! runs out of space is not made to wait for it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::Moment;
use cairn_proto::cluster::Order;
use cairn_proto::ids::{ChunkHandle, ChunkVersion, ServerId};
use parking_lot::Mutex;

/// Copies in the orders of one heartbeat's reply at most. Deleting is cheap but not free, and readers come first.
pub const MAX_DELETES_PER_HEARTBEAT: usize = 2048;
/// An order that was not confirmed for this long is sent again.
pub const RESEND_AFTER: Duration = Duration::from_secs(10);

/// What each server is to delete. At most one entry for each copy that the servers reported.
#[derive(Debug, Default)]
pub struct Orders {
    grace: Duration,
    servers: Mutex<HashMap<ServerId, BTreeMap<ChunkHandle, Pending>>>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    version: ChunkVersion,
    /// When it was first known to be garbage.
    since: Moment,
    sent: Option<Moment>,
}

impl Orders {
    /// Nothing is deleted until it was garbage for as long as `grace`.
    pub fn new(grace: Duration) -> Self {
        Self { grace, servers: Mutex::default() }
    }

    /// Copies of `handle` up to `version` on `server` are garbage.
    pub fn delete(&self, server: ServerId, handle: ChunkHandle, version: ChunkVersion, now: Moment) {
        let mut servers = self.servers.lock();
        let new = Pending { version, since: now, sent: None };
        let pending = servers.entry(server).or_default().entry(handle).or_insert(new);
        if version > pending.version {
            *pending = new;
        }
    }

    /// The copy is gone, or no longer garbage. An order that is on its way names an older version than any copy made from now on.
    pub fn forget(&self, server: ServerId, handle: ChunkHandle) {
        if let Some(orders) = self.servers.lock().get_mut(&server) {
            orders.remove(&handle);
        }
    }

    /// Whether a copy is to be deleted.
    pub fn contains(&self, server: ServerId, handle: ChunkHandle) -> bool {
        self.servers.lock().get(&server).is_some_and(|orders| orders.contains_key(&handle))
    }

    /// What to send to `server` now; `in_need` where it is short of space.
    pub fn due(&self, server: ServerId, in_need: bool, now: Moment) -> Vec<Order> {
        let mut servers = self.servers.lock();
        let Some(orders) = servers.get_mut(&server) else { return Vec::new() };
        let is_due = |pending: &Pending| match pending.sent {
            Some(sent) => now.saturating_sub(sent) >= RESEND_AFTER,
            None => in_need || now.saturating_sub(pending.since) >= self.grace,
        };
        let due: Vec<_> = orders
            .iter_mut()
            .filter(|(_, pending)| is_due(pending))
            .take(MAX_DELETES_PER_HEARTBEAT)
            .map(|(&handle, pending)| {
                pending.sent = Some(now);
                (handle, pending.version)
            })
            .collect();
        if due.is_empty() { Vec::new() } else { vec![Order::Delete(due)] }
    }

    /// Copies that are waiting to be deleted, on all servers.
    pub fn waiting(&self) -> usize {
        self.servers.lock().values().map(BTreeMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerId = ServerId(uuid::Uuid::from_u128(1));

    fn deletes(orders: Vec<Order>) -> Vec<(ChunkHandle, ChunkVersion)> {
        orders.into_iter().flat_map(|Order::Delete(copies)| copies).collect()
    }

    #[test]
    fn sent_until_confirmed() {
        let orders = Orders::default();
        let start = Moment::from_secs(1000);
        let copy = (ChunkHandle(1), ChunkVersion(2));
        orders.delete(SERVER, copy.0, copy.1, start);
        assert_eq!(deletes(orders.due(SERVER, false, start)), [copy]);
        assert_eq!(deletes(orders.due(SERVER, false, start)), []);
        assert_eq!(deletes(orders.due(SERVER, false, start + RESEND_AFTER)), [copy]);
        orders.forget(SERVER, copy.0);
        assert_eq!(deletes(orders.due(SERVER, false, start + 2 * RESEND_AFTER)), []);
        assert_eq!(orders.waiting(), 0);
    }

    #[test]
    fn nothing_is_deleted_before_its_time_but_where_space_is_short() {
        let orders = Orders::new(Duration::from_secs(60));
        let start = Moment::from_secs(1000);
        let almost = start + Duration::from_secs(59);
        orders.delete(SERVER, ChunkHandle(1), ChunkVersion(2), start);
        orders.delete(SERVER, ChunkHandle(1), ChunkVersion(2), almost);
        assert_eq!(deletes(orders.due(SERVER, false, almost)), []);
        assert_eq!(deletes(orders.due(SERVER, false, start + Duration::from_secs(60))).len(), 1);
        orders.delete(SERVER, ChunkHandle(2), ChunkVersion(1), almost);
        assert_eq!(deletes(orders.due(SERVER, true, almost)), [(ChunkHandle(2), ChunkVersion(1))]);
    }

    #[test]
    fn a_newer_copy_is_a_new_order() {
        let orders = Orders::default();
        let start = Moment::from_secs(1000);
        orders.delete(SERVER, ChunkHandle(1), ChunkVersion(2), start);
        orders.due(SERVER, false, start);
        orders.delete(SERVER, ChunkHandle(1), ChunkVersion(1), start);
        assert_eq!(deletes(orders.due(SERVER, false, start)), []);
        orders.delete(SERVER, ChunkHandle(1), ChunkVersion(3), start);
        assert_eq!(deletes(orders.due(SERVER, false, start)), [(ChunkHandle(1), ChunkVersion(3))]);
    }

    #[test]
    fn a_reply_is_bounded() {
        let orders = Orders::default();
        let start = Moment::from_secs(1000);
        for handle in 0..MAX_DELETES_PER_HEARTBEAT as u64 + 7 {
            orders.delete(SERVER, ChunkHandle(handle), ChunkVersion(1), start);
        }
        assert_eq!(deletes(orders.due(SERVER, false, start)).len(), MAX_DELETES_PER_HEARTBEAT);
        assert_eq!(deletes(orders.due(SERVER, false, start)).len(), 7);
    }
}
