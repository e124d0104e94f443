//! `renameat2`: plain, `RENAME_NOREPLACE`, `RENAME_EXCHANGE`. Errors come in the order in which Linux finds them.

use cairn_proto::attr::{Attr, LINK_MAX};
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::RenameMode;
use cairn_proto::name::Name;

use super::super::change::Change;
use super::super::dentry::{self, Dentry};
use super::super::error::Outcome;
use super::super::inode::{self, Inode};
use super::super::link;
use super::super::reply::Reply;
use super::unlink::lose_name;
use crate::store::{Read, StoreError};

/// A directory and a name in it.
type Place<'a> = (InodeId, &'a Name);

/// The inodes whose names changed.
struct Names {
    moved: Attr,
    replaced: Option<Attr>,
    exchanged: Option<Attr>,
}

pub(super) fn rename(change: &mut Change<'_>, from: Place<'_>, to: Place<'_>, mode: RenameMode) -> Outcome<Reply> {
    let old_parent = inode::get_directory(&change.txn, from.0)?;
    let new_parent = inode::get_directory(&change.txn, to.0)?;
    let source = dentry::get(&change.txn, from.0, from.1)?;
    let target = dentry::find(&change.txn, to.0, to.1)?;
    if mode == RenameMode::NoReplace && target.is_some() {
        return Err(FsError::Exists.into());
    }
    if mode == RenameMode::Exchange && target.is_none() {
        return Err(FsError::NotFound.into());
    }
    // A removed directory is empty, so only as the new parent can it come this far.
    if new_parent.nlink == 0 {
        return Err(FsError::NotFound.into());
    }
    check_loops(&change.txn, source, &new_parent, target, &old_parent, mode)?;
    if let Some(target) = target
        && target.inode == source.inode
    {
        return unchanged(change, source.inode, &old_parent, &new_parent);
    }
    let before = (old_parent.changed_at, new_parent.changed_at);
    let Names { moved, replaced, exchanged } = match target {
        Some(target) if mode == RenameMode::Exchange => exchange(change, from, to, source, target)?,
        Some(target) => replace(change, from, (&new_parent, to.1), source, target)?,
        None => relocate(change, from, to, source)?,
    };
    let at = change.at;
    let old_parent = change.update(from.0, |parent| parent.touch_contents(at))?.changed(before.0);
    let new_parent = change.update(to.0, |parent| parent.touch_contents(at))?.changed(before.1);
    Ok(Reply::Renamed { moved, replaced, exchanged, old_parent, new_parent })
}

/// A directory does not go into itself or below.
fn check_loops(
    read: &dyn Read,
    source: Dentry,
    new_parent: &Inode,
    target: Option<Dentry>,
    old_parent: &Inode,
    mode: RenameMode,
) -> Outcome<()> {
    if old_parent.id == new_parent.id {
        return Ok(());
    }
    if source.is_directory() && is_within(read, new_parent, source.inode)? {
        return Err(FsError::InvalidArgument.into());
    }
    match target {
        Some(target) if target.is_directory() && is_within(read, old_parent, target.inode)? => Err(match mode {
            RenameMode::Exchange => FsError::InvalidArgument.into(),
            _ => FsError::NotEmpty.into(),
        }),
        _ => Ok(()),
    }
}

/// Whether `directory` is `ancestor` or below it.
fn is_within(read: &dyn Read, directory: &Inode, ancestor: InodeId) -> Result<bool, StoreError> {
    let (mut at, mut parent) = (directory.id, directory.home.parent);
    while at != ancestor {
        if at == InodeId::ROOT {
            return Ok(false);
        }
        (at, parent) = (parent, inode::of_entry(read, parent)?.home.parent);
    }
    Ok(true)
}

/// Two names of one inode: POSIX has both stay.
fn unchanged(change: &Change<'_>, id: InodeId, old_parent: &Inode, new_parent: &Inode) -> Outcome<Reply> {
    Ok(Reply::Renamed {
        moved: inode::of_entry(&change.txn, id)?.attr(),
        replaced: None,
        exchanged: None,
        old_parent: old_parent.changed(old_parent.changed_at),
        new_parent: new_parent.changed(new_parent.changed_at),
    })
}

/// To a name that was free.
fn relocate(change: &mut Change<'_>, from: Place<'_>, to: Place<'_>, source: Dentry) -> Outcome<Names> {
    let at = change.at;
    if from.0 == to.0 {
        dentry::rename(&mut change.txn, from.0, from.1, to.1, &source);
        let moved = change.update(source.inode, |inode| inode.times.ctime = at)?;
        return Ok(Names { moved: moved.attr(), replaced: None, exchanged: None });
    }
    let mut moved = inode::of_entry(&change.txn, source.inode)?;
    remove_entry(change, from, source)?;
    let mut new_parent = inode::of_entry(&change.txn, to.0)?;
    count_subdirectory(&mut new_parent, source)?;
    let place = dentry::next_link(&mut new_parent)?;
    dentry::insert(&mut change.txn, &mut new_parent, to.1, &moved, place)?;
    change.save(&mut new_parent);
    link::relocate(&mut change.txn, &mut moved, source.link(from.0), place);
    moved.times.ctime = at;
    change.save(&mut moved);
    Ok(Names { moved: moved.attr(), replaced: None, exchanged: None })
}

/// To a name that was something else's: that loses it.
fn replace(
    change: &mut Change<'_>,
    from: Place<'_>,
    (new_parent, new_name): (&Inode, &Name),
    source: Dentry,
    target: Dentry,
) -> Outcome<Names> {
    match (source.is_directory(), target.is_directory()) {
        (true, false) => return Err(FsError::NotDirectory.into()),
        (false, true) => return Err(FsError::IsDirectory.into()),
        (true, true) if inode::of_entry(&change.txn, target.inode)?.as_directory()?.entries > 0 => {
            return Err(FsError::NotEmpty.into());
        }
        _ => {}
    }
    let mut moved = inode::of_entry(&change.txn, source.inode)?;
    let place = target.link(new_parent.id);
    remove_entry(change, from, source)?;
    // The name keeps its place in the listing; a directory that goes takes the place in `nlink` of the one that was there.
    dentry::write(&mut change.txn, place, new_name, source.inode, source.kind);
    let replaced = lose_name(change, target.inode, new_parent, new_name, place)?;
    link::relocate(&mut change.txn, &mut moved, source.link(from.0), place);
    moved.times.ctime = change.at;
    change.save(&mut moved);
    Ok(Names { moved: moved.attr(), replaced: Some(replaced.attr()), exchanged: None })
}

/// Two names change what they mean. Both keep their places.
fn exchange(change: &mut Change<'_>, from: Place<'_>, to: Place<'_>, source: Dentry, target: Dentry) -> Outcome<Names> {
    let (old_place, new_place) = (source.link(from.0), target.link(to.0));
    if from.0 != to.0 && source.is_directory() != target.is_directory() {
        let (gains, loses) = if source.is_directory() { (to.0, from.0) } else { (from.0, to.0) };
        let mut gaining = inode::of_entry(&change.txn, gains)?;
        if gaining.nlink >= LINK_MAX {
            return Err(FsError::TooManyLinks.into());
        }
        gaining.nlink += 1;
        change.save(&mut gaining);
        change.update(loses, |parent| parent.nlink -= 1)?;
    }
    dentry::write(&mut change.txn, new_place, to.1, source.inode, source.kind);
    dentry::write(&mut change.txn, old_place, from.1, target.inode, target.kind);
    let moved = relink(change, source.inode, old_place, new_place)?;
    let exchanged = relink(change, target.inode, new_place, old_place)?;
    Ok(Names { moved, replaced: None, exchanged: Some(exchanged) })
}

fn relink(change: &mut Change<'_>, id: InodeId, from: link::Link, to: link::Link) -> Outcome<Attr> {
    let mut inode = inode::of_entry(&change.txn, id)?;
    link::relocate(&mut change.txn, &mut inode, from, to);
    inode.times.ctime = change.at;
    change.save(&mut inode);
    Ok(inode.attr())
}

fn remove_entry(change: &mut Change<'_>, place: Place<'_>, dentry: Dentry) -> Outcome<()> {
    let mut parent = inode::of_entry(&change.txn, place.0)?;
    dentry::remove(&mut change.txn, &mut parent, place.1, &dentry)?;
    if dentry.is_directory() {
        parent.nlink -= 1;
    }
    change.save(&mut parent);
    Ok(())
}

fn count_subdirectory(parent: &mut Inode, dentry: Dentry) -> Result<(), FsError> {
    if dentry.is_directory() {
        if parent.nlink >= LINK_MAX {
            return Err(FsError::TooManyLinks);
        }
        parent.nlink += 1;
    }
    Ok(())
}
