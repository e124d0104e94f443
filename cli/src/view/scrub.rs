//! `cairn scrub status`, and what `cairn status` says of it.

use std::time::Duration;

use cairn_proto::scrub::{ScrubPass, ScrubStatus, ScrubbedAll};
use cairn_proto::time::Timestamp;
use serde::Serialize;

use super::{bytes, seconds};

/// How far one server's scrub is. Times are seconds since the epoch.
#[derive(Debug, Serialize)]
pub struct ScrubView {
    /// The pass under way.
    pub pass: Option<PassView>,
    /// The last one that went over everything.
    pub last: Option<LastView>,
    /// When the next pass begins by itself, where none is under way.
    pub next: Option<f64>,
    /// Damaged blocks that all passes together have found.
    pub damaged: u64,
}

#[derive(Debug, Serialize)]
pub struct PassView {
    pub began: f64,
    pub ends: f64,
    /// Bytes.
    pub verified: u64,
    /// Bytes.
    pub left: u64,
    /// Blocks.
    pub damaged: u64,
    /// Bytes per second, of late.
    pub rate: u64,
    /// By `cairn scrub start`.
    pub ordered: bool,
}

#[derive(Debug, Serialize)]
pub struct LastView {
    pub began: f64,
    pub ended: f64,
    /// Bytes.
    pub verified: u64,
    /// Blocks.
    pub damaged: u64,
}

impl From<ScrubStatus> for ScrubView {
    fn from(status: ScrubStatus) -> Self {
        let ScrubStatus { pass, last, next, damaged } = status;
        Self { pass: pass.map(Into::into), last: last.map(Into::into), next: next.map(seconds), damaged }
    }
}

impl From<ScrubPass> for PassView {
    fn from(pass: ScrubPass) -> Self {
        let ScrubPass { began, ends, verified, left, damaged, rate, ordered } = pass;
        Self { began: seconds(began), ends: seconds(ends), verified, left, damaged, rate, ordered }
    }
}

impl From<ScrubbedAll> for LastView {
    fn from(last: ScrubbedAll) -> Self {
        let ScrubbedAll { began, ended, verified, damaged } = last;
        Self { began: seconds(began), ended: seconds(ended), verified, damaged }
    }
}

impl ScrubView {
    /// A line of the table.
    pub fn row(&self, name: &str) -> Vec<String> {
        let now = seconds(Timestamp::now());
        let mut row = vec![name.to_owned()];
        match (&self.pass, self.next) {
            (Some(pass), _) => row.extend([
                format!("{} %, {}", percent(pass), if pass.ordered { "at once" } else { "paced" }),
                bytes(pass.verified),
                bytes(pass.left),
                format!("{}/s", bytes(pass.rate)),
                format!("in {}", time(pass.ends - now)),
            ]),
            (None, Some(next)) => row.extend([format!("next in {}", time(next - now)), dash(), dash(), dash(), dash()]),
            (None, None) => row.extend([dash(), dash(), dash(), dash(), dash()]),
        }
        row.push(self.damaged.to_string());
        match &self.last {
            Some(last) => row.extend([format!("{} ago", time(now - last.ended)), last.damaged.to_string()]),
            None => row.extend(["none yet".to_owned(), dash()]),
        }
        row
    }
}

fn percent(pass: &PassView) -> u64 {
    let all = pass.verified.saturating_add(pass.left).max(1);
    (u128::from(pass.verified) * 100 / u128::from(all)) as u64
}

/// `13days 4h`: the two largest units are enough.
fn time(seconds: f64) -> String {
    let whole = Duration::from_secs(seconds.max(0.0) as u64);
    let text = humantime::format_duration(whole).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(time(0.2), "0s");
        assert_eq!(time(-5.0), "0s");
        assert_eq!(time(14.0 * 86_400.0 - 1.0), "13days 23h");
    }

    #[test]
    fn a_row_has_a_cell_for_each_head() {
        let at = |secs| Timestamp { secs, nanos: 0 };
        let pass = ScrubPass { began: at(1), ends: at(2), verified: 30, left: 70, damaged: 5, rate: 6, ordered: true };
        let last = ScrubbedAll { began: at(7), ended: at(8), verified: 9, damaged: 10 };
        let row = ScrubView::from(ScrubStatus { pass: Some(pass), last: Some(last), next: None, damaged: 11 }).row("a");
        assert_eq!(row[..5], ["a", "30 %, at once", "30 B", "70 B", "6 B/s"]);
        assert_eq!((row.len(), &*row[6]), (9, "11"));
        assert_eq!(ScrubView::from(ScrubStatus::default()).row("a").len(), 9);
    }
}
