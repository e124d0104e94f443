//! `cairn stats`.

use std::time::Duration;

use anyhow::{Context, Result};
use cairn_runtime::shutdown::StopSignals;

use crate::admin::Admin;
use crate::args::StatsArgs;
use crate::out::say;
use crate::target;
use crate::view::{print_json, stats::StatsView};

pub async fn run(args: StatsArgs) -> Result<()> {
    let endpoint = match &args.place {
        Some(place) => target::metaserver_at(place)?,
        None => target::metaserver(args.meta.meta)?,
    };
    let admin = Admin::connect(endpoint).await?;
    if let Some(seconds) = args.watch {
        return watch(&admin, Duration::from_secs(seconds.into()), args.json).await;
    }
    let view = fetch(&admin).await?;
    if args.json {
        return print_json(&view);
    }
    view.print();
    Ok(())
}

/// Prints what happened in each interval, until SIGINT or SIGTERM, or until nobody reads it any more: see [`say`].
async fn watch(admin: &Admin, interval: Duration, json: bool) -> Result<()> {
    let mut signals = StopSignals::listen().context("cannot wait for signals")?;
    let mut before = fetch(admin).await?;
    loop {
        tokio::select! {
            _ = signals.next() => return Ok(()),
            () = tokio::time::sleep(interval) => {}
        }
        let now = fetch(admin).await?;
        let rates = now.since(&before);
        let text = if json { serde_json::to_string(&rates)? } else { rates.to_string() };
        say!("{text}");
        before = now;
    }
}

async fn fetch(admin: &Admin) -> Result<StatsView> {
    let stats = admin.call("stats", |client, context| async move { client.stats(context).await }).await?;
    Ok(stats.into())
}
