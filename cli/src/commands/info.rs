//! `cairn info`.

use anyhow::Result;
use cairn_proto::admin::InodeInfo;
use cairn_proto::meta::MAX_CHUNKS_PER_CALL;

use crate::args::InfoArgs;
use crate::target::Target;
use crate::view::{info::InfoView, print_json};

pub async fn run(args: InfoArgs) -> Result<()> {
    let target = Target::find(&args.path, args.meta.meta).await?;
    let first = fetch(&target, 0).await?;
    let mut last = first.chunks.last().map(|c| c.location.id.index.0);
    let mut full = first.chunks.len() as u32 >= MAX_CHUNKS_PER_CALL;
    let mut view = InfoView::new(first);
    while let (true, Some(index)) = (full, last.and_then(|l| l.checked_add(1))) {
        let page = fetch(&target, index).await?;
        last = page.chunks.last().map(|c| c.location.id.index.0);
        full = page.chunks.len() as u32 >= MAX_CHUNKS_PER_CALL;
        view.add_chunks(page.chunks);
    }
    if args.json {
        return print_json(&view);
    }
    view.print();
    Ok(())
}

/// One page of what the metaserver knows of the target.
pub async fn fetch(target: &Target, first_chunk: u32) -> Result<InodeInfo> {
    let inode = target.inode;
    let what = target.path.display().to_string();
    target.admin.call(&what, |client, context| async move { client.info(context, inode, first_chunk).await }).await
}
