//! `cairn` with the faults of [`cairn_runtime::faults`]: for tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    cairn_cli::main()
}
