//! The entries of one directory, with offsets that stay good while it changes.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};

use fuser::INodeNo;

/// Names of a directory, in the order in which they came.
///
/// Every entry gets a readdir offset that is never given to another, so that `rm -r`, which removes what it lists, skips
/// nothing.
#[derive(Debug)]
pub struct Directory {
    pub parent: INodeNo,
    by_name: HashMap<OsString, Entry>,
    by_offset: BTreeMap<u64, OsString>,
    next_offset: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    ino: INodeNo,
    offset: u64,
}

/// Offsets 1 and 2 belong to `.` and `..`.
const FIRST_OFFSET: u64 = 3;

impl Directory {
    pub fn new(parent: INodeNo) -> Self {
        Self { parent, by_name: HashMap::new(), by_offset: BTreeMap::new(), next_offset: FIRST_OFFSET }
    }

    pub fn get(&self, name: &OsStr) -> Option<INodeNo> {
        self.by_name.get(name).map(|entry| entry.ino)
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Points `name` at `ino`, whether it existed or not.
    pub fn insert(&mut self, name: &OsStr, ino: INodeNo) {
        if let Some(entry) = self.by_name.get_mut(name) {
            entry.ino = ino;
            return;
        }
        let offset = self.next_offset;
        self.next_offset += 1;
        self.by_name.insert(name.to_owned(), Entry { ino, offset });
        self.by_offset.insert(offset, name.to_owned());
    }

    pub fn remove(&mut self, name: &OsStr) -> Option<INodeNo> {
        let entry = self.by_name.remove(name)?;
        self.by_offset.remove(&entry.offset);
        Some(entry.ino)
    }

    /// The entries behind `offset`, each with the offset that continues after it.
    pub fn after(&self, offset: u64) -> impl Iterator<Item = (u64, &OsStr, INodeNo)> {
        let start = offset.saturating_add(1).max(FIRST_OFFSET);
        self.by_offset
            .range(start..)
            .filter_map(|(&offset, name)| Some((offset, name.as_os_str(), self.by_name.get(name)?.ino)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Directory, offset: u64) -> Vec<(u64, String)> {
        directory.after(offset).map(|(offset, name, _)| (offset, name.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn a_listing_that_removes_as_it_goes_skips_nothing() {
        let mut directory = Directory::new(INodeNo::ROOT);
        for (index, name) in ["a", "b", "c"].iter().enumerate() {
            directory.insert(OsStr::new(name), INodeNo(10 + index as u64));
        }
        let first = names(&directory, 0);
        assert_eq!(first.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(directory.remove(OsStr::new("a")), Some(INodeNo(10)));
        let rest = names(&directory, first[0].0);
        assert_eq!(rest, first[1..]);
    }

    #[test]
    fn an_offset_is_never_given_twice() {
        let mut directory = Directory::new(INodeNo::ROOT);
        directory.insert(OsStr::new("a"), INodeNo(10));
        let before = names(&directory, 0)[0].0;
        directory.remove(OsStr::new("a"));
        directory.insert(OsStr::new("a"), INodeNo(11));
        assert!(names(&directory, 0)[0].0 > before);
    }

    #[test]
    fn replacing_an_entry_keeps_its_place() {
        let mut directory = Directory::new(INodeNo::ROOT);
        directory.insert(OsStr::new("a"), INodeNo(10));
        let before = names(&directory, 0);
        directory.insert(OsStr::new("a"), INodeNo(11));
        assert_eq!(names(&directory, 0), before);
        assert_eq!(directory.get(OsStr::new("a")), Some(INodeNo(11)));
    }
}
