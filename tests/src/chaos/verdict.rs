//! In the end: every byte is where it was promised to be, and nothing else is there.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::load::Claim;
use crate::cluster::Cluster;
use crate::mount::Mount;

/// Compares what `mount` shows with all that was claimed.
pub fn check(claims: &[Claim], mount: &Mount) -> Result<()> {
    for claim in claims {
        let mirror = &claim.places.mirror;
        let name = mirror.file_name().and_then(|name| name.to_str()).context("a mirror has a name")?;
        let dir = mount.join(name);
        let (have, want) = (names(&dir)?, names(mirror)?);
        let differing: Vec<&String> = have.symmetric_difference(&want).collect();
        ensure!(differing.is_empty(), "{}: lost or back: {differing:?}", dir.display());
        for (name, entry) in &claim.ledger.0 {
            entry.check(&dir.join(name), &mirror.join(name))?;
        }
    }
    Ok(())
}

fn names(dir: &Path) -> Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// No daemon has panicked.
pub fn check_logs(cluster: &Cluster) -> Result<()> {
    for entry in std::fs::read_dir(cluster.dir())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let log = std::fs::read_to_string(&path)?;
            let panic = log.lines().find(|line| line.contains("panicked at"));
            ensure!(panic.is_none(), "{}: {}", path.display(), panic.unwrap_or_default());
        }
    }
    Ok(())
}
