//! The machine's own name.

/// As `gethostname` says it; `localhost` where it does not.
pub fn name() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}
