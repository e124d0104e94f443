//! A listing of a directory that is under way while the directory changes.

use std::collections::BTreeSet;

use cairn_metaserver::namespace::query;
use cairn_metaserver::store::Read;
use cairn_proto::ids::{DirCookie, InodeId};
use cairn_proto::meta::ReadDir;
use cairn_proto::name::Name;

use crate::model::Model;

pub struct Listing {
    directory: InodeId,
    after: DirCookie,
    seen: Vec<Name>,
    /// Entries that were there at the start, and ever since.
    stayed: BTreeSet<Name>,
}

impl Listing {
    pub fn start(model: &Model, directory: InodeId) -> Self {
        Self { directory, after: DirCookie::START, seen: Vec::new(), stayed: entries(model, directory) }
    }

    /// After a change: entries that are gone need not be listed any more.
    pub fn changed(&mut self, model: &Model) {
        let now = entries(model, self.directory);
        self.stayed.retain(|name| now.contains(name));
    }

    /// Reads a page; answers whether it was the last one.
    pub fn go_on(&mut self, read: &dyn Read) -> bool {
        let request = ReadDir { inode: self.directory, after: self.after, limit: 1, plus: false };
        let Ok(page) = query::read_dir(read, request) else {
            return true;
        };
        for entry in page.entries {
            assert!(entry.cookie > self.after, "the listing of {} goes back", self.directory);
            self.after = entry.cookie;
            self.seen.push(entry.name);
        }
        if page.end {
            for name in &self.stayed {
                let times = self.seen.iter().filter(|seen| *seen == name).count();
                assert_eq!(times, 1, "{name} of {} was there all the time, and listed {times} times", self.directory);
            }
        }
        page.end
    }
}

fn entries(model: &Model, directory: InodeId) -> BTreeSet<Name> {
    model.nodes.get(&directory).map(|node| node.entries.keys().cloned().collect()).unwrap_or_default()
}
