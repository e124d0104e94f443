//! `cairn stats`.

use std::fmt;

use cairn_proto::admin::ServerStats;
use cairn_proto::transport::RequestCounts;
use serde::Serialize;

use super::{micros, millis, seconds, table};
use crate::out::say;

/// Calls that wait until there is something to answer: their times are no sign of a slow metaserver.
const WAITING: [&str; 2] = ["MetaService.events", "MetaService.set_lock"];
/// What stands beside them.
const WAITS: &str = "waits by design";

#[derive(Debug, Serialize)]
pub struct StatsView {
    /// Seconds since the epoch.
    pub started: f64,
    pub uptime_ms: u64,
    pub requests: Vec<RequestView>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestView {
    pub name: String,
    pub calls: u64,
    pub in_flight: u64,
    pub failed: u64,
    pub dropped: u64,
    pub total_us: u64,
    /// Of those that ended, if there are any.
    pub mean_us: Option<u64>,
    pub max_us: u64,
    /// Waits by design, so its times say nothing of the server.
    pub waits: bool,
}

/// What happened between two looks.
#[derive(Debug, PartialEq, Serialize)]
pub struct RatesView {
    /// Between the looks.
    pub seconds: f64,
    /// Calls in flight, and calls that were begun or ended.
    pub requests: Vec<RateView>,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct RateView {
    pub name: String,
    /// Begun.
    pub calls: u64,
    pub per_second: f64,
    pub in_flight: u64,
    pub failed: u64,
    pub dropped: u64,
    /// Of those that ended, if there are any.
    pub mean_us: Option<u64>,
    pub waits: bool,
}

impl From<ServerStats> for StatsView {
    fn from(stats: ServerStats) -> Self {
        let ServerStats { started, uptime_ms, requests } = stats;
        let requests = requests.into_iter().map(RequestView::from).collect();
        Self { started: seconds(started), uptime_ms, requests }
    }
}

impl From<RequestCounts> for RequestView {
    fn from(counts: RequestCounts) -> Self {
        let RequestCounts { name, calls, in_flight, failed, dropped, total_us, max_us } = counts;
        let waits = WAITING.contains(&name.as_str());
        let mean_us = total_us.checked_div(calls.saturating_sub(in_flight));
        Self { name, calls, in_flight, failed, dropped, total_us, mean_us, max_us, waits }
    }
}

impl StatsView {
    pub fn print(&self) {
        let calls: u64 = self.requests.iter().map(|r| r.calls).sum();
        say!("up for {}: {calls} requests", millis(self.uptime_ms));
        say!("");
        let mut rows =
            table::new(&["REQUEST", "CALLS>", "IN FLIGHT>", "FAILED>", "DROPPED>", "MEAN>", "LONGEST>", "NOTE"]);
        for r in &self.requests {
            rows.add_row([
                r.name.clone(),
                r.calls.to_string(),
                r.in_flight.to_string(),
                r.failed.to_string(),
                r.dropped.to_string(),
                time(r.mean_us),
                time(r.mean_us.map(|_| r.max_us)),
                note(r.waits),
            ]);
        }
        say!("{rows}");
    }

    /// What happened since an earlier look; everything, where the metaserver was restarted in between.
    pub fn since(&self, earlier: &Self) -> RatesView {
        let restarted = self.started != earlier.started;
        let from_ms = if restarted { 0 } else { earlier.uptime_ms };
        let seconds = self.uptime_ms.saturating_sub(from_ms) as f64 / 1e3;
        let known = |name: &str| earlier.requests.iter().find(|r| !restarted && r.name == name);
        let rates = self.requests.iter().filter_map(|now| now.since(known(&now.name), seconds));
        RatesView { seconds, requests: rates.collect() }
    }
}

impl RequestView {
    fn ended(&self) -> u64 {
        self.calls.saturating_sub(self.in_flight)
    }

    /// `None` where nothing happened.
    fn since(&self, earlier: Option<&Self>, seconds: f64) -> Option<RateView> {
        let new = |count: fn(&Self) -> u64| count(self).saturating_sub(earlier.map_or(0, count));
        let (calls, ended) = (new(|r| r.calls), new(Self::ended));
        (calls > 0 || ended > 0 || self.in_flight > 0).then(|| RateView {
            name: self.name.clone(),
            calls,
            per_second: if seconds > 0.0 { calls as f64 / seconds } else { 0.0 },
            in_flight: self.in_flight,
            failed: new(|r| r.failed),
            dropped: new(|r| r.dropped),
            mean_us: new(|r| r.total_us).checked_div(ended),
            waits: self.waits,
        })
    }
}

impl fmt::Display for RatesView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_second: f64 = self.requests.iter().map(|r| r.per_second).sum();
        writeln!(f, "{:.1} s: {per_second:.1} requests a second", self.seconds)?;
        let mut rows = table::new(&["REQUEST", "A SECOND>", "IN FLIGHT>", "FAILED>", "DROPPED>", "MEAN>", "NOTE"]);
        for r in &self.requests {
            rows.add_row([
                r.name.clone(),
                format!("{:.1}", r.per_second),
                r.in_flight.to_string(),
                r.failed.to_string(),
                r.dropped.to_string(),
                time(r.mean_us),
                note(r.waits),
            ]);
        }
        writeln!(f, "{rows}")
    }
}

fn time(us: Option<u64>) -> String {
    us.map_or_else(|| "-".into(), micros)
}

fn note(waits: bool) -> String {
    if waits { WAITS.into() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(name: &str, calls: u64, in_flight: u64, total_us: u64) -> RequestCounts {
        RequestCounts { name: name.into(), calls, in_flight, failed: 0, dropped: 0, total_us, max_us: total_us }
    }

    fn stats(started: i64, uptime_ms: u64, requests: Vec<RequestCounts>) -> StatsView {
        let started = cairn_proto::time::Timestamp { secs: started, nanos: 0 };
        ServerStats { started, uptime_ms, requests }.into()
    }

    #[test]
    fn means_are_of_those_that_ended() {
        let view = RequestView::from(counts("MetaService.events", 4, 1, 900));
        assert_eq!((view.mean_us, view.waits), (Some(300), true));
        assert_eq!(RequestView::from(counts("S.a", 1, 1, 0)).mean_us, None);
    }

    #[test]
    fn rates_show_what_changed() {
        let before = stats(1, 1_000, vec![counts("S.busy", 10, 0, 100), counts("S.idle", 5, 0, 5)]);
        let now =
            stats(1, 3_000, vec![counts("S.busy", 30, 0, 500), counts("S.idle", 5, 0, 5), counts("S.new", 1, 1, 0)]);
        let rates = now.since(&before);
        let shown: Vec<_> = rates.requests.iter().map(|r| (r.name.as_str(), r.per_second, r.mean_us)).collect();
        assert_eq!((rates.seconds, shown), (2.0, vec![("S.busy", 10.0, Some(20)), ("S.new", 0.5, None)]));
        assert_eq!(now.since(&now).requests.len(), 1, "what is in flight is shown");
    }

    #[test]
    fn a_restart_begins_anew() {
        let before = stats(1, 60_000, vec![counts("S.a", 1_000, 0, 1)]);
        let rates = stats(90, 500, vec![counts("S.a", 3, 0, 30)]).since(&before);
        assert_eq!((rates.seconds, rates.requests[0].calls, rates.requests[0].mean_us), (0.5, 3, Some(10)));
    }
}
