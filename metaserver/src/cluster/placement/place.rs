//! Where a server stands, in numbers that are quick to compare.

use std::collections::HashMap;

use cairn_proto::ids::ServerId;
use cairn_proto::labels::{Domain, Labels};
use parking_lot::Mutex;

/// The failure domains of one server: the same number is the same domain. A rack is one of its zone, a zone one of its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place([u32; Domain::ALL.len()]);

impl Place {
    /// Which domain of this kind.
    pub fn domain(self, domain: Domain) -> u32 {
        self.0[domain as usize]
    }

    pub fn shares(self, domain: Domain, other: Self) -> bool {
        self.domain(domain) == other.domain(domain)
    }
}

/// Gives out the numbers. Those without a label are in one domain together.
#[derive(Debug, Default)]
pub struct Places {
    numbers: Mutex<HashMap<String, u32>>,
}

impl Places {
    /// Where the server with these labels stands. One that does not say on which host it is has one to itself.
    pub fn of(&self, server: ServerId, labels: &Labels) -> Place {
        let mut numbers = self.numbers.lock();
        let mut number = |name: String| {
            let next = numbers.len() as u32;
            *numbers.entry(name).or_insert(next)
        };
        let mut place = Place([0; Domain::ALL.len()]);
        let mut path = String::new();
        for domain in [Domain::Region, Domain::Zone, Domain::Rack] {
            path = format!("{path}{domain}={},", labels.domain(domain).unwrap_or_default());
            place.0[domain as usize] = number(path.clone());
        }
        // Names of hosts are unique, whatever else is said of them.
        let host = labels.domain(Domain::Host).map_or_else(|| server.to_string(), ToOwned::to_owned);
        place.0[Domain::Host as usize] = number(format!("host={host}"));
        place
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn racks_are_of_their_zone_and_hosts_of_nothing() {
        let places = Places::default();
        let place = |n: u128, labels: &str| places.of(ServerId(Uuid::from_u128(n)), &labels.parse().unwrap());
        let one = place(1, "zone=a,rack=1,host=x");
        let two = place(2, "zone=b,rack=1,host=x");
        let three = place(3, "zone=a,rack=1");
        let shared = |a: Place, b: Place| Domain::ALL.map(|domain| a.shares(domain, b));
        assert_eq!(shared(one, two), [true, false, false, true]);
        assert_eq!(shared(one, three), [true, true, true, false]);
        assert_eq!(shared(three, place(4, "zone=a,rack=1")), [true, true, true, false], "each has a host to itself");
        assert_eq!(three, place(3, "zone=a,rack=1"));
    }
}
