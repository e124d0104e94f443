//! `cairn status`.

use anyhow::Result;
use cairn_proto::admin::ClusterStatus;

use crate::admin::Admin;
use crate::args::StatusArgs;
use crate::target;
use crate::view::{print_json, status::StatusView};

pub async fn run(args: StatusArgs) -> Result<()> {
    let view = fetch(&args).await?;
    if args.json {
        return print_json(&view);
    }
    view.print();
    Ok(())
}

/// Asks the metaserver that `args` mean.
pub async fn fetch(args: &StatusArgs) -> Result<StatusView> {
    let admin = Admin::connect(target::metaserver(args.meta.meta.clone())?).await?;
    Ok(ask(&admin).await?.into())
}

/// Asks this one.
pub async fn ask(admin: &Admin) -> Result<ClusterStatus> {
    admin.call("status", |client, context| async move { client.status(context).await }).await
}
