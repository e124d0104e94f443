//! `chmod`, `chown`, `truncate`, `utimensat`.

use cairn_proto::attr::{FileKind, MODE_BITS, SetAttr, SetTime};
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::time::Timestamp;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::inode::{self, Inode};
use super::super::reply::Reply;
use super::super::xattr::{self, ACL_ACCESS};
use super::truncate;

pub(super) fn set_attr(change: &mut Change<'_>, id: InodeId, set: &SetAttr) -> Outcome<Reply> {
    let mut inode = inode::get(&change.txn, id)?;
    if let Some(size) = set.size {
        truncate::resize(change, &mut inode, size)?;
        inode.times.mtime = change.at;
    }
    if let Some(mode) = set.mode {
        set_mode(change, &mut inode, mode & MODE_BITS)?;
    }
    inode.uid = set.uid.unwrap_or(inode.uid);
    inode.gid = set.gid.unwrap_or(inode.gid);
    let owned = set.uid.is_some() || set.gid.is_some();
    if owned || set.kill_suid_sgid {
        inode.clear_suid_sgid();
    }
    if owned || set.size.is_some() || set.kill_suid_sgid {
        xattr::drop_capabilities(change, &mut inode)?;
    }
    if let Some(atime) = set.atime {
        inode.times.atime = time(atime, change.at)?;
    }
    if let Some(mtime) = set.mtime {
        inode.times.mtime = time(mtime, change.at)?;
    }
    inode.times.ctime = change.at;
    change.save(&mut inode);
    Ok(Reply::Attr(inode.attr()))
}

/// The access ACL, where there is one, follows.
fn set_mode(change: &mut Change<'_>, inode: &mut Inode, mode: u32) -> Outcome<()> {
    if mode == inode.mode {
        return Ok(());
    }
    if inode.kind() == FileKind::Symlink {
        return Err(FsError::Unsupported.into());
    }
    if let Some(mut acl) = xattr::find_acl(&change.txn, inode, ACL_ACCESS)? {
        acl.set_mode(mode);
        xattr::put(change, inode, ACL_ACCESS, acl.to_bytes().into())?;
    }
    inode.mode = mode;
    Ok(())
}

fn time(set: SetTime, now: Timestamp) -> Result<Timestamp, FsError> {
    match set {
        SetTime::Now => Ok(now),
        SetTime::At(time) => valid(time),
    }
}

/// What a client sends is checked: a stored time with a billion nanoseconds would confuse whoever reads it.
pub(in crate::namespace) fn valid(time: Timestamp) -> Result<Timestamp, FsError> {
    const NANOS_PER_SECOND: u32 = 1_000_000_000;
    if time.nanos < NANOS_PER_SECOND { Ok(time) } else { Err(FsError::InvalidArgument) }
}
