//! `cairn policy show` and `cairn policy set`.

use anyhow::{Result, bail};
use cairn_proto::admin::PolicySet;
use cairn_proto::labels::Labels;

use super::info;
use crate::args::{InfoArgs, PolicyCommand, PolicySetArgs};
use crate::out::say;
use crate::target::Target;
use crate::view::{info::PolicyView, print_json};

/// In the place of a label: none is asked for.
const NO_LABEL: &str = "none";

pub async fn run(command: PolicyCommand) -> Result<()> {
    match command {
        PolicyCommand::Show(args) => show(args).await,
        PolicyCommand::Set(args) => set(args).await,
    }
}

async fn show(args: InfoArgs) -> Result<()> {
    let target = Target::find(&args.path, args.meta.meta).await?;
    let info = info::fetch(&target, 0).await?;
    print(&PolicyView::new(info.policy, &info.placement, info.retention), args.json)
}

async fn set(args: PolicySetArgs) -> Result<()> {
    let change = change(&args)?;
    if change == PolicySet::default() {
        bail!("nothing to set: give --copies, --durability, --spread, --on, --loose, --strict or --trash");
    }
    let target = Target::find(&args.path, args.meta.meta).await?;
    let (inode, recursive) = (target.inode, args.recursive);
    let what = target.path.display().to_string();
    let call = |client: crate::admin::Client, context| async move {
        client.set_policy(context, inode, change, recursive).await
    };
    let now = target.admin.call(&what, call).await?;
    print(&PolicyView::new(now.policy, &now.placement, now.retention), args.json)?;
    // Only directories have one.
    let is_directory = now.retention.is_some();
    if is_directory && !recursive && !args.json {
        say!("for what is created in {what} from now on; with --recursive for all that is below already, too");
    }
    Ok(())
}

fn change(args: &PolicySetArgs) -> Result<PolicySet> {
    let on = match args.on.as_slice() {
        [] => None,
        [none] if none == NO_LABEL => Some(Labels::default()),
        labels => Some(Labels::parse(labels)?),
    };
    Ok(PolicySet {
        copies: args.copies,
        durability: args.durability.map(Into::into),
        spread: args.spread.map(Into::into),
        on,
        loose: if args.loose { Some(true) } else { args.strict.then_some(false) },
        retention: args.trash,
    })
}

fn print(policy: &PolicyView, json: bool) -> Result<()> {
    if json {
        return print_json(policy);
    }
    say!("{policy}");
    Ok(())
}
