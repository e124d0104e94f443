//! `cairn-scale`: the metaserver's placement, reports and repair, in process, against thousands of simulated chunkservers.
//!
//! Nothing is sent and nothing is stored: what is measured is what it costs the metaserver to know of all these copies and to
//! decide about them. Figures: `docs/scale.md`.

mod measure;
mod steps;
mod table;
mod world;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use comfy_table::{CellAlignment, Table};

use steps::Outcome;

#[derive(Debug, Parser)]
#[command(version, about = "The metaserver's cluster code against simulated chunkservers")]
struct Args {
    /// Chunkservers: half of them twice as large as the others, twenty to a rack, twenty-five racks to a zone.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u16).range(100..=60_000))]
    servers: u16,
    /// Chunks, all of them full.
    #[arg(long, default_value_t = 50_000_000)]
    chunks: u64,
    /// Copies of each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=4))]
    copies: u8,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match simulate(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cairn-scale: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn simulate(Args { servers, chunks, copies, json }: Args) -> Result<()> {
    ensure!(chunks >= u64::from(servers), "--chunks: give at least as many as there are servers ({servers})");
    let outcome = steps::run(servers, chunks, copies).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        print(&outcome);
    }
    Ok(())
}

fn print(outcome: &Outcome) {
    let Outcome { servers, chunks, copies, steps, spreads, hit } = outcome;
    println!("{servers} chunkservers, {chunks} chunks in {copies} copies; {hit} chunks in the rack that failed");
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(["step", "how often", "core seconds", "each", "memory"]);
    for step in steps {
        table.add_row([
            step.name.to_owned(),
            format!("{} {}", step.count, step.unit),
            format!("{:.1}", step.seconds),
            format!("{:.2?}", step.each()),
            format!("{:+.0} B each", step.grown as f64 / step.count.max(1) as f64),
        ]);
    }
    numbers_to_the_right(&mut table);
    println!("{table}\n");
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(["how even", "least", "mean", "most", "deviation"]);
    for spread in spreads {
        let [least, mean, most] = [spread.least, spread.mean, spread.most].map(|value| format!("{value:.3}"));
        table.add_row([spread.of.to_owned(), least, mean, most, format!("{:.1} %", 100.0 * spread.deviation)]);
    }
    numbers_to_the_right(&mut table);
    println!("{table}");
}

fn numbers_to_the_right(table: &mut Table) {
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
}
