//! The trash and its indexes.

use super::Check;
use crate::namespace::trash::{self, Trashed};
use crate::namespace::value::Stored;
use crate::namespace::{inode, keys};
use crate::store::StoreError;

impl Check<'_> {
    /// That it is no orphan, too, is looked at with the inode.
    pub(super) fn check_trash(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.progress.counted.trash += 1;
        let row = keys::parse_trash(key).and_then(|id| Ok((id, Trashed::from_stored(key, value)?)));
        let Some((id, trashed)) = self.decoded(row)? else {
            return Ok(());
        };
        self.progress.counted.trash_bytes += trashed.bytes;
        for key in trash::index_keys(id, &trashed) {
            if self.read.get(&key)?.is_none() {
                let what = format!("{id} is in the trash and is not found there: a row of an index is missing");
                self.found("unlisted-trash", Some(id), None, what);
            }
        }
        let inode = inode::find(self.read, id);
        match self.decoded(inode)?.flatten() {
            None => {
                let what = format!("{id} is in the trash and does not exist");
                self.found("trash-without-inode", Some(id), None, what);
            }
            Some(inode) if inode.nlink > 0 => {
                let what = format!("{id} has a name, yet is in the trash");
                self.found("living-trash", Some(id), None, what);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// A row of an index is one of those that the record of its inode has.
    pub(super) fn check_trash_index(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let by_place = || keys::parse_trash_by_place(key).map(|(_, id)| id);
        let id = keys::parse_trash_by_time(key).map(|(_, _, id)| id).or_else(|_| by_place());
        let Some(id) = self.decoded(id)? else {
            return Ok(());
        };
        let trashed = trash::find(self.read, id);
        let known = self.decoded(trashed)?.flatten();
        if !known.is_some_and(|trashed| trash::index_keys(id, &trashed).iter().any(|own| **own == *key)) {
            let what = format!("an index of the trash names {id}, which is not there like that");
            self.found("dangling-trash", Some(id), None, what);
        }
        Ok(())
    }
}
