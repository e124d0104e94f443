//! `cairn checkpoint`.

use anyhow::Result;

use crate::admin::Admin;
use crate::args::CheckpointArgs;
use crate::out::say;
use crate::target;

pub async fn run(args: CheckpointArgs) -> Result<()> {
    let admin = Admin::connect(target::metaserver(args.meta.meta)?).await?;
    let at = admin.call("checkpoint", |client, context| async move { client.checkpoint(context).await }).await?;
    say!("checkpoint taken: it covers the log up to {}", at.0);
    Ok(())
}
