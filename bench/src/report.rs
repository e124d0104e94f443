//! What came out of a run: collected, printed and written.

mod results;
mod table;

use std::fs;
use std::path::Path;

pub use self::results::{Failure, Results, Series, Skip};
pub use self::table::{Style, render};

use crate::error::{BenchError, IoContext};

/// Writes `results.json` and `results.md` into `directory`, in place of earlier ones.
pub fn write(results: &Results, directory: &Path) -> Result<(), BenchError> {
    let json = directory.join("results.json");
    let text = serde_json::to_string_pretty(results).map_err(BenchError::Report)?;
    fs::write(&json, text + "\n").doing("write", &json)?;
    let markdown = directory.join("results.md");
    fs::write(&markdown, self::markdown(results)).doing("write", &markdown)
}

/// The results as a page.
fn markdown(results: &Results) -> String {
    let environment = &results.environment;
    let mut page = format!(
        "# Benchmark results\n\n{} rounds, medians; rates, so more is better. In brackets: how far the rounds lie apart.\n\n\
         - {} x {}, {} MiB of memory, kernel {}\n- disk below all targets: {}\n- load at the start: {}\n\
         - {}; MooseFS: {}; CairnFS: {}\n\n{}\n",
        results.rounds,
        environment.processors,
        environment.processor,
        environment.memory_mib,
        environment.kernel,
        environment.disk,
        environment.load,
        environment.fio,
        environment.moosefs,
        environment.cairn,
        render(results, Style::Markdown),
    );
    for remark in results.remarks() {
        page.push_str(&format!("\n- {remark}"));
    }
    if page.ends_with('\n') { page } else { page + "\n" }
}
