//! Where the programs under test are.

use std::path::PathBuf;

/// The `cairn` binary of the same build as this test (`target/<profile>/cairn`), or `$CAIRN_BIN`.
pub fn cairn() -> PathBuf {
    if let Some(path) = std::env::var_os("CAIRN_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a running test has a path");
    let profile_dir = test.ancestors().nth(2).expect("tests run from target/<profile>/deps");
    let path = profile_dir.join("cairn");
    assert!(path.exists(), "{} is missing: run `make system`, or `cargo build -p cairn-cli` first", path.display());
    path
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
