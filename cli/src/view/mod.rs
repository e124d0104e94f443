//! What commands print: one structure a command, shown as tables to people and as JSON (`--json`) to programs.
//!
//! The JSON is a promise to scripts: fields are added, never renamed. The wire types may change without it.

pub mod fsck;
pub mod info;
pub mod status;
mod table;

use anyhow::Result;
use humansize::{BINARY, format_size};
use serde::Serialize;

/// Prints `value` as JSON with a newline.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// `1.5 GiB`.
pub fn bytes(n: u64) -> String {
    format_size(n, BINARY)
}

/// `1.2 s`, `3 min`: silence, ages.
pub fn millis(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        _ => format!("{} min", ms / 60_000),
    }
}
