//! The program behind `bench/run`.

use std::process::ExitCode;

use cairn_bench::args::{Arguments, Command, RunArguments};
use cairn_bench::error::BenchError;
use cairn_bench::report::{self, Style};
use cairn_bench::{runner, worker, workload};
use clap::Parser;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run(arguments),
        Command::Worker(creation) => worker::serve(&creation).map(|()| ExitCode::SUCCESS),
        Command::List => {
            list();
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("cairn-bench: {error}");
        ExitCode::FAILURE
    })
}

/// Fails also where results were written, but with failures among them.
fn run(arguments: RunArguments) -> Result<ExitCode, BenchError> {
    let out = arguments.out.clone();
    let results = runner::run(arguments)?;
    println!("{}", report::render(&results, Style::Terminal));
    for remark in results.remarks() {
        println!("{remark}");
    }
    println!("\nwritten: {}/results.md and results.json", out.display());
    Ok(if results.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list() {
    for workload in workload::all() {
        println!("{:<13} {}", workload.name(), workload.about());
    }
}
