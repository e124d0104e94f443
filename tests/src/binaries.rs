//! Where the programs under test are.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::run;

/// The `cairn` binary of the same build as this test (`target/<profile>/cairn`), or `$CAIRN_BIN`.
pub fn cairn() -> PathBuf {
    std::env::var_os("CAIRN_BIN").map_or_else(|| sibling("cairn"), PathBuf::from)
}

/// A binary of the same build as this test.
pub fn sibling(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let profile_dir = test.ancestors().nth(2).expect("tests run from target/<profile>/deps");
    let path = profile_dir.join(name);
    assert!(path.exists(), "{} is missing: run `make system`", path.display());
    path
}

/// A `cairn` that can be asked for faults (`runtime/src/faults.rs`): `$CAIRN_FAULTY_BIN`, or built here, which takes some minutes.
pub fn cairn_faulty() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CAIRN_FAULTY_BIN") {
        return Ok(path.into());
    }
    let name = "cairn-faulty";
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // Some test of its own packages goes with it: its libraries then have the features that `make unit` has built them with.
    build.args(["build", "--quiet", "--workspace", "--features", "cairn-cli/faults"]);
    build.args(["--bin", name, "--test", "library"]);
    run::check(build.current_dir(env!("CARGO_MANIFEST_DIR")))?;
    Ok(sibling(name))
}

/// A tool that `tests/setup/install.sh` built (`pjdfstest`, `fsx`).
pub fn tool(name: &str) -> PathBuf {
    let dir = match std::env::var_os("CAIRN_TOOLS") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let test = std::env::current_exe().expect("a running test has a path");
            test.ancestors().nth(3).expect("tests run from target/<profile>/deps").join("tools")
        }
    };
    let path = dir.join("bin").join(name);
    assert!(path.exists(), "{} is missing: run `make system`", path.display());
    path
}
