//! The `cairn` command. All of it is in the library, so that builds for tests differ in nothing but their features.

use std::process::ExitCode;

fn main() -> ExitCode {
    cairn_cli::main()
}
