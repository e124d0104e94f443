//! `cairn policy show` and `cairn policy set`.

use anyhow::{Result, bail};
use cairn_proto::policy::PolicyChange;

use super::info;
use crate::args::{InfoArgs, PolicyCommand, PolicySetArgs};
use crate::target::Target;
use crate::view::{info::PolicyView, print_json};

pub async fn run(command: PolicyCommand) -> Result<()> {
    match command {
        PolicyCommand::Show(args) => show(args).await,
        PolicyCommand::Set(args) => set(args).await,
    }
}

async fn show(args: InfoArgs) -> Result<()> {
    let target = Target::find(&args.path, args.meta.meta).await?;
    print(info::fetch(&target, 0).await?.policy.into(), args.json)
}

async fn set(args: PolicySetArgs) -> Result<()> {
    let change = PolicyChange { copies: args.copies, durability: args.durability.map(Into::into) };
    if change == PolicyChange::default() {
        bail!("nothing to set: give --copies or --durability");
    }
    let target = Target::find(&args.path, args.meta.meta).await?;
    let (inode, recursive) = (target.inode, args.recursive);
    let what = target.path.display().to_string();
    let call = |client: crate::admin::Client, context| async move {
        client.set_policy(context, inode, change, recursive).await
    };
    let policy = target.admin.call(&what, call).await?;
    print(policy.into(), args.json)
}

fn print(policy: PolicyView, json: bool) -> Result<()> {
    if json {
        return print_json(&policy);
    }
    println!("{} copies, durable at {}", policy.copies, policy.durability);
    Ok(())
}
