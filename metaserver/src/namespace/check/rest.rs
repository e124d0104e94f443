//! Xattrs, orphans, delegations, and the counters.

use super::Check;
use crate::namespace::delegation::Holder;
use crate::namespace::orphan::Orphan;
use crate::namespace::value::Stored;
use crate::namespace::xattr::{ACL_ACCESS, ACL_DEFAULT, Xattr};
use crate::namespace::{acl::Acl, counters, inode, keys};
use crate::store::StoreError;

impl Check<'_> {
    pub(super) fn check_xattr(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let row = keys::parse_xattr(key).and_then(|(inode, name)| Ok((inode, name, Xattr::from_stored(key, value)?.0)));
        let Some((id, name, value)) = self.decoded(row)? else {
            return Ok(());
        };
        let inode = inode::find(self.read, id);
        let Some(inode) = self.decoded(inode)?.flatten() else {
            self.found("xattr-without-inode", Some(id), None, format!("{name} belongs to {id}, which does not exist"));
            return Ok(());
        };
        let is_acl = matches!(name.as_bytes(), ACL_ACCESS | ACL_DEFAULT);
        let acl = if is_acl { Acl::parse(&value) } else { Ok(None) };
        match acl {
            Ok(Some(acl)) if name.as_bytes() == ACL_ACCESS && acl.mode() != inode.mode & 0o777 => {
                let what = format!("the ACL of {id} says {:o}, its mode {:o}", acl.mode(), inode.mode);
                self.found("acl-against-mode", Some(id), None, what);
            }
            Err(_) => self.found("bad-acl", Some(id), None, format!("{name} of {id} is no ACL")),
            Ok(_) => {}
        }
        Ok(())
    }

    pub(super) fn check_orphan(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.progress.counted.orphans += 1;
        let row = keys::parse_orphan(key).and_then(|id| Orphan::from_stored(key, value).map(|_| id));
        let Some(id) = self.decoded(row)? else {
            return Ok(());
        };
        let inode = inode::find(self.read, id);
        // One with a name is found with the inode.
        if self.decoded(inode)?.flatten().is_none() {
            self.found("orphan-without-inode", Some(id), None, format!("{id} is among the orphans and does not exist"));
        }
        Ok(())
    }

    /// That its session lives is not asked: a row without is void, and nobody is held up by it.
    pub(super) fn check_delegation(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let row = keys::parse_delegation(key).and_then(|id| Ok((id, Holder::from_stored(key, value)?)));
        let Some((id, Holder(session))) = self.decoded(row)? else {
            return Ok(());
        };
        let inode = inode::find(self.read, id);
        let directory = self.decoded(inode)?.flatten().filter(|inode| inode.is_directory() && inode.nlink > 0);
        if directory.is_none() {
            let what = format!("{id} is delegated to {session}, and is no directory");
            self.found("delegation-without-directory", Some(id), None, what);
        }
        Ok(())
    }

    /// Counts are comparable where nothing was made or removed while they were taken.
    pub(super) fn check_counters(&mut self) -> Result<(), StoreError> {
        let now = counters::get(self.read)?;
        if now != self.progress.counters {
            return Ok(());
        }
        let counted = self.progress.counted;
        let all = [
            ("inodes", now.inodes, counted.inodes),
            ("orphans", now.orphans, counted.orphans),
            ("chunks", now.chunks, counted.chunks),
            ("chunks of garbage", now.garbage, counted.garbage),
            ("inodes in the trash", now.trash, counted.trash),
            ("bytes in the trash", now.trash_bytes, counted.trash_bytes),
        ];
        for (what, noted, found) in all {
            if noted != found {
                self.found("wrong-counter", None, None, format!("there are {found} {what}, noted are {noted}"));
            }
        }
        Ok(())
    }
}
