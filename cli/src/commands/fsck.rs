//! `cairn fsck`.

use std::time::{Duration, Instant};

use anyhow::Result;
use cairn_proto::admin::{Finding, FsckPage, MAX_RECHECKED, Recheck};
use cairn_proto::ids::ChunkHandle;

use super::status;
use crate::admin::Admin;
use crate::args::FsckArgs;
use crate::out::say;
use crate::target;
use crate::view::{fsck::FsckView, print_json};

/// Between two looks at what is being repaired.
const POLL: Duration = Duration::from_secs(1);
/// What has not been repaired when nothing has got better for this long is left.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same while it is being worked on, or waits to be: there may be much to copy.
const LONGEST_PATIENCE: Duration = Duration::from_secs(180);

/// Returns whether all is well, or was made so.
pub async fn run(args: FsckArgs) -> Result<bool> {
    let admin = Admin::connect(target::metaserver(args.meta.meta.clone())?).await?;
    let mut view = check(&admin, &args).await?;
    if args.repair {
        let left = Repair { admin: &admin, data: args.data, quiet: args.json }.watch(view.repairable()).await?;
        view.repaired(&left);
        view.repair_is_paused = status::ask(&admin).await?.repair.paused;
    }
    if args.json {
        print_json(&view)?;
    } else {
        view.print();
    }
    Ok(view.is_well())
}

async fn check(admin: &Admin, args: &FsckArgs) -> Result<FsckView> {
    let (mut view, mut resume) = (FsckView::default(), None);
    let (data, repair) = (args.data, args.repair);
    loop {
        let call =
            |client: crate::admin::Client, context| async move { client.fsck(context, data, repair, resume).await };
        let page = admin.call("fsck", call).await?;
        let FsckPage { findings, inodes_checked, chunks_checked, bytes_verified, resume: next } = page;
        view.findings.extend(findings.into_iter().map(Into::into));
        view.inodes_checked += inodes_checked;
        view.chunks_checked += chunks_checked;
        view.bytes_verified += bytes_verified;
        resume = next;
        if resume.is_none() {
            return Ok(view);
        }
    }
}

/// Waits for what `fsck` has begun to repair.
struct Repair<'a> {
    admin: &'a Admin,
    /// Damage is only seen by who reads everything.
    data: bool,
    quiet: bool,
}

impl Repair<'_> {
    /// Looks at `chunks` until nothing repairable is wrong with them, or nothing gets better. Answers what is left, and all else that is
    /// wrong with them.
    async fn watch(&self, chunks: Vec<ChunkHandle>) -> Result<Vec<Finding>> {
        let (mut open, mut left) = (chunks, Vec::new());
        let mut better = Instant::now();
        while !open.is_empty() {
            tokio::time::sleep(POLL).await;
            let Recheck { findings, pending } = self.recheck(&open).await?;
            let is_open = |chunk: &ChunkHandle| {
                pending.contains(chunk) || findings.iter().any(|f| f.repairable && f.chunk == Some(*chunk))
            };
            let still: Vec<_> = open.iter().copied().filter(is_open).collect();
            if still.len() < open.len() {
                better = Instant::now();
                if !self.quiet {
                    say!("{} of the faulty chunks are done, {} to go", open.len() - still.len(), still.len());
                }
            }
            left.extend(findings.iter().filter(|f| f.chunk.is_none_or(|chunk| !still.contains(&chunk))).cloned());
            let patience = if pending.is_empty() { PATIENCE } else { LONGEST_PATIENCE };
            if better.elapsed() > patience {
                left.extend(findings.into_iter().filter(|f| f.chunk.is_some_and(|chunk| still.contains(&chunk))));
                break;
            }
            open = still;
        }
        Ok(left)
    }

    async fn recheck(&self, chunks: &[ChunkHandle]) -> Result<Recheck> {
        let mut all = Recheck::default();
        for some in chunks.chunks(MAX_RECHECKED) {
            let (some, data) = (some.to_vec(), self.data);
            let call = |client: crate::admin::Client, context| async move { client.recheck(context, some, data).await };
            let Recheck { findings, pending } = self.admin.call("fsck", call).await?;
            all.findings.extend(findings);
            all.pending.extend(pending);
        }
        Ok(all)
    }
}
