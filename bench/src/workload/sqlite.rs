//! Rows inserted by sqlite, each in a transaction of its own.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Bench, Workload};
use crate::error::{BenchError, IoContext};
use crate::figure::Figure;
use crate::tool;

/// Bytes of text in a row.
const ROW_BYTES: usize = 100;

/// With rollback journal, as sqlite has it by default; `synchronous` is what tells whether each transaction is synced.
const STAGES: [(&str, &str); 2] = [("close", "OFF"), ("fsync", "FULL")];

#[derive(Debug)]
pub struct Sqlite;

impl Workload for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn about(&self) -> &'static str {
        "insert rows with sqlite3, one transaction each; `fsync` with synchronous=FULL, `close` with OFF"
    }

    /// A database is read back while it is written.
    fn needs_data(&self) -> bool {
        true
    }

    fn run(&self, bench: &mut Bench<'_>) -> Result<Vec<Figure>, BenchError> {
        let rows = bench.scale.sqlite_rows;
        let mut figures = Vec::new();
        for (stage, synchronous) in STAGES {
            let database = bench.directory.join(format!("{stage}.db"));
            let script = bench.tools.scratch.join(format!("sqlite-{stage}.sql"));
            fs::write(&script, statements(synchronous, rows)).doing("write", &script)?;
            tool::run(sqlite3(&database).arg("CREATE TABLE entries (id INTEGER PRIMARY KEY, payload TEXT);"))?;
            bench.target.sync_backing()?;
            let (elapsed, flushes) = bench.flushes_during(|| execute(&database, &script))?;
            check(&database, rows)?;
            let figure = Figure::operations(format!("sqlite.{stage}"), rows, elapsed);
            figures.push(figure.with_flushes(flushes, rows));
        }
        Ok(figures)
    }
}

fn sqlite3(database: &Path) -> Command {
    let mut command = Command::new("sqlite3");
    command.args(["-batch", "-bail"]).arg(database);
    command
}

fn statements(synchronous: &str, rows: u64) -> String {
    let payload = "x".repeat(ROW_BYTES);
    let insert = format!("INSERT INTO entries (payload) VALUES ('{payload}');\n");
    format!("PRAGMA journal_mode=DELETE;\nPRAGMA synchronous={synchronous};\n{}", insert.repeat(rows as usize))
}

fn execute(database: &Path, script: &Path) -> Result<Duration, BenchError> {
    let input = File::open(script).doing("open", script)?;
    let start = Instant::now();
    tool::run(sqlite3(database).stdin(input))?;
    Ok(start.elapsed())
}

fn check(database: &Path, expected: u64) -> Result<(), BenchError> {
    let answer = tool::output(sqlite3(database).arg("SELECT count(*) FROM entries; PRAGMA integrity_check;"))?;
    if answer.trim() == format!("{expected}\nok") {
        return Ok(());
    }
    let found = answer.lines().next().and_then(|count| count.parse().ok()).unwrap_or(0);
    Err(BenchError::WrongCount { path: database.to_owned(), expected, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_statement_of_its_own() {
        let script = statements("FULL", 3);
        assert_eq!(script.matches("INSERT INTO").count(), 3);
        assert!(script.contains("synchronous=FULL") && !script.contains("BEGIN"));
    }
}
