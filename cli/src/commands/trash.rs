//! `cairn trash list`, `restore` and `empty`.
//!
//! Whatever there is, it is gone through in pages: a trash may hold millions of entries.

use std::io::{BufRead, IsTerminal, Write, stdin, stdout};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cairn_proto::ids::InodeId;
use cairn_proto::name::Name;
use cairn_proto::time::Timestamp;
use cairn_proto::trash::{
    RestoreRequest, RestoredDir, RestoredPage, RestoredTop, TrashCount, TrashCursor, TrashFilter, TrashPage,
};
use clap::{Args, Subcommand};

use crate::admin::{Admin, Client};
use crate::args::MetaArg;
use crate::out::{printed, say};
use crate::target::{self, Target};
use crate::view::trash::{TrashList, shown};
use crate::view::{bytes, count};

#[derive(Debug, Subcommand)]
pub enum TrashCommand {
    /// Show what was removed and is kept, in the order of removal
    List(ListArgs),
    /// Restore a file, or a directory with everything that was removed along with it
    Restore(RestoreArgs),
    /// Remove what is in the trash for good
    Empty(EmptyArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only what was there, or below: a path on a mount; with --meta, a path from the root of the file system
    pub path: Option<PathBuf>,
    #[command(flatten)]
    pub meta: MetaArg,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Where it was: a path on a mount; with --meta, a path from the root of the file system
    pub path: PathBuf,
    /// To this directory, instead of to where it was
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// This one of several of that name (see `cairn trash list`); without it, the one that was removed last
    #[arg(long, value_name = "NUMBER")]
    pub inode: Option<u64>,
    /// What was removed from a directory earlier than the directory itself, too
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub meta: MetaArg,
}

#[derive(Debug, Args)]
pub struct EmptyArgs {
    /// Only what was there, or below: a path on a mount; with --meta, a path from the root of the file system
    pub path: Option<PathBuf>,
    /// Only what was removed longer ago than this, as in 1d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub older_than: Option<Duration>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub meta: MetaArg,
}

/// Returns whether all that was asked for was done.
pub async fn run(command: TrashCommand) -> Result<bool> {
    match command {
        TrashCommand::List(args) => list(args).await.map(|()| true),
        TrashCommand::Restore(args) => restore(args).await,
        TrashCommand::Empty(args) => empty(args).await,
    }
}

/// The metaserver, and what a path on the command line means there.
async fn place(path: Option<PathBuf>, meta: MetaArg) -> Result<(Admin, Vec<Name>)> {
    match path {
        Some(path) => {
            let (endpoint, names) = target::names_of(&path, meta.meta)?;
            Ok((Admin::connect(endpoint).await?, names))
        }
        None => Ok((Admin::connect(target::metaserver(meta.meta)?).await?, Vec::new())),
    }
}

async fn list(args: ListArgs) -> Result<()> {
    let (admin, below) = place(args.path, args.meta).await?;
    let filter = TrashFilter { below, deleted_by: None };
    let mut list = printed(TrashList::begin(args.json));
    let mut after = None;
    loop {
        let filter = filter.clone();
        let call = |client: Client, context| async move { client.trash(context, filter, after).await };
        let TrashPage { entries, resume } = admin.call("trash list", call).await?;
        for entry in entries {
            printed(list.add(entry));
        }
        after = resume;
        if after.is_none() {
            printed(list.end());
            return Ok(());
        }
    }
}

async fn restore(args: RestoreArgs) -> Result<bool> {
    let RestoreArgs { path, to, inode, all, meta } = args;
    let to = match to {
        Some(to) => Some(Target::find(&to, meta.meta.clone()).await?.inode),
        None => None,
    };
    let what = path.display().to_string();
    let (admin, names) = place(Some(path), meta).await?;
    let request = RestoreRequest { path: names, inode: inode.map(InodeId), to };
    let call = |client: Client, context| async move { client.restore(context, request).await };
    let RestoredTop { path, directory } = admin.call(&what, call).await?;
    let was_there = directory.is_some_and(|directory| directory.was_there);
    let mut done = Restored { restored: u64::from(!was_there), ..Restored::default() };
    if let Some(directory) = directory {
        done.add_below(&admin, &what, directory, all).await?;
    }
    let place = shown(path.as_deref().unwrap_or_default());
    if was_there && done.restored == 0 && done.taken == 0 && done.earlier == 0 {
        bail!("{what}: nothing that was removed there is in the trash: see `cairn trash list`");
    }
    say!("{place}: {} restored", count(done.restored, "entry", "entries"));
    if done.earlier > 0 {
        let earlier = count(done.earlier, "entry", "entries");
        say!(
            "{earlier} of earlier removals stay in the trash (`cairn trash list`; --all restores the newest of each name)"
        );
    }
    if done.taken > 0 {
        say!("{} stay in the trash: their names are taken", count(done.taken, "entry", "entries"));
    }
    Ok(done.taken == 0)
}

/// What a restore has done.
#[derive(Debug, Default)]
struct Restored {
    restored: u64,
    earlier: u64,
    taken: u64,
}

impl Restored {
    /// Goes on with everything below a directory, one directory after the other.
    async fn add_below(&mut self, admin: &Admin, what: &str, top: RestoredDir, all: bool) -> Result<()> {
        let mut open = vec![(top, None)];
        while let Some((directory, resume)) = open.pop() {
            let call =
                |client: Client, context| async move { client.restore_below(context, directory, all, resume).await };
            let page = admin.call(what, call).await.context("not all is restored yet: repeat the command to go on")?;
            let RestoredPage { restored, earlier, taken, directories, resume } = page;
            self.restored += restored;
            self.earlier += earlier;
            self.taken += taken.len() as u64;
            for name in taken {
                eprintln!("cairn: {what}: `{name}` in it exists, and is left as it is");
            }
            if resume.is_some() {
                open.push((directory, resume));
            }
            open.extend(directories.into_iter().map(|below| (below, None)));
        }
        Ok(())
    }
}

async fn empty(args: EmptyArgs) -> Result<bool> {
    let EmptyArgs { path, older_than, yes, meta } = args;
    let (admin, below) = place(path, meta).await?;
    let deleted_by = match older_than {
        Some(age) => Some(before(Timestamp::now(), age)?),
        // What is removed while this works is not meant.
        None => Some(Timestamp::now()),
    };
    let filter = TrashFilter { below, deleted_by };
    if !yes && stdin().is_terminal() {
        let TrashCount { entries, bytes: held } = remove(&admin, &filter, true).await?;
        if entries == 0 {
            say!("there is nothing to remove");
            return Ok(true);
        }
        let entries = count(entries, "entry", "entries");
        let mut out = stdout();
        let question = write!(out, "{entries} with {} will be gone for good. Go on? [y/N] ", bytes(held));
        printed(question.and_then(|()| out.flush()));
        let mut answer = String::new();
        stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            say!("nothing was removed");
            return Ok(false);
        }
    }
    let TrashCount { entries, bytes: held } = remove(&admin, &filter, false).await?;
    say!("{} removed for good, {}", count(entries, "entry", "entries"), bytes(held));
    Ok(true)
}

fn before(now: Timestamp, age: Duration) -> Result<Timestamp> {
    let secs = i64::try_from(age.as_secs()).ok().and_then(|age| now.secs.checked_sub(age));
    Ok(Timestamp { secs: secs.context("--older-than: nothing is as old as that")?, nanos: now.nanos })
}

async fn remove(admin: &Admin, filter: &TrashFilter, dry: bool) -> Result<TrashCount> {
    let (mut all, mut after) = (TrashCount::default(), None::<TrashCursor>);
    loop {
        let filter = filter.clone();
        let call = |client: Client, context| async move { client.empty_trash(context, filter, after, dry).await };
        let (TrashCount { entries, bytes }, resume) = admin.call("trash empty", call).await?;
        all.entries += entries;
        all.bytes += bytes;
        after = resume;
        if after.is_none() {
            return Ok(all);
        }
    }
}
