//! What commands print: one structure a command, shown as tables to people and as JSON (`--json`) to programs.
//!
//! The JSON is a promise to scripts: fields are added, never renamed. The wire types may change without it.

pub mod disk;
pub mod fsck;
pub mod info;
pub mod repair;
pub mod scrub;
pub mod simulation;
pub mod stats;
pub mod status;
mod table;
pub mod trash;

use crate::out::say;
use anyhow::Result;
use cairn_proto::time::Timestamp;
use humansize::{BINARY, format_size};
use serde::Serialize;

/// Prints `value` as JSON with a newline.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// `1.5 GiB`.
pub fn bytes(n: u64) -> String {
    format_size(n, BINARY)
}

/// `7 µs`, `1.5 ms`, `3.0 s`: how long calls take.
pub fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1_000.0),
        _ => millis(us / 1_000),
    }
}

/// Seconds since the epoch, as scripts like them.
fn seconds(t: Timestamp) -> f64 {
    t.secs as f64 + f64::from(t.nanos) / 1e9
}

/// `1.2 s`, `3 min`: silence, ages.
pub fn millis(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        _ => format!("{} min", ms / 60_000),
    }
}

/// `1 entry`, `5 entries`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}
