//! `cairn fsck`.

use anyhow::Result;
use cairn_proto::admin::FsckPage;

use crate::admin::Admin;
use crate::args::FsckArgs;
use crate::target;
use crate::view::{fsck::FsckView, print_json};

/// Returns whether all is well.
pub async fn run(args: FsckArgs) -> Result<bool> {
    let admin = Admin::connect(target::metaserver(args.meta.meta)?).await?;
    let (mut view, mut resume, data) = (FsckView::default(), None, args.data);
    loop {
        let page =
            admin.call("fsck", |client, context| async move { client.fsck(context, data, resume).await }).await?;
        let FsckPage { findings, inodes_checked, chunks_checked, bytes_verified, resume: next } = page;
        view.findings.extend(findings.into_iter().map(Into::into));
        view.inodes_checked += inodes_checked;
        view.chunks_checked += chunks_checked;
        view.bytes_verified += bytes_verified;
        resume = next;
        if resume.is_none() {
            break;
        }
    }
    if args.json {
        print_json(&view)?;
    } else {
        view.print();
    }
    Ok(view.findings.is_empty())
}
