//! All that clients can see of a namespace.

use std::collections::{BTreeMap, BTreeSet};

use cairn_metaserver::namespace::trash::Trashed;
use cairn_metaserver::namespace::{ChunkView, NamespaceError, query};
use cairn_metaserver::store::Read;
use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, DirCookie, InodeId, LogIndex};
use cairn_proto::meta::ReadDir;
use cairn_proto::name::Name;
use cairn_proto::policy::Policy;
use cairn_proto::trash::TrashCursor;

use crate::model::{Model, Removed};

/// Chunks that scripts use have indexes below this.
const INDEXES: u32 = 16;

/// Every inode that can be seen.
#[derive(Default, PartialEq, Debug)]
pub struct Observed(BTreeMap<InodeId, Seen>);

#[derive(Clone, PartialEq, Debug)]
struct Seen {
    attr: Attr,
    policy: Policy,
    entries: BTreeMap<Name, InodeId>,
    xattrs: BTreeMap<Name, Vec<u8>>,
    target: Option<Vec<u8>>,
    chunks: Vec<ChunkView>,
}

impl Observed {
    /// Asks for all of `inodes`.
    pub fn new(read: &dyn Read, inodes: &[InodeId]) -> Self {
        let mut all = BTreeMap::new();
        for &id in inodes {
            match query::get_attr(read, id) {
                Ok(attr) => drop(all.insert(id, Seen::new(read, attr))),
                Err(NamespaceError::Refused(FsError::Stale(stale))) => assert_eq!(stale, id),
                Err(other) => panic!("{id}: {other}"),
            }
        }
        Self(all)
    }

    pub fn compare(&self, model: &Model, read: &dyn Read) {
        let modelled: BTreeMap<_, _> = model.nodes.keys().map(|&id| (id, Seen::modelled(model, id))).collect();
        let plain = |seen: &Seen| Seen { attr: Attr { changed_at: LogIndex(0), ..seen.attr.clone() }, ..seen.clone() };
        let seen: BTreeMap<_, _> = self.0.iter().map(|(&id, seen)| (id, plain(seen))).collect();
        assert_eq!(seen, modelled);
        self.compare_paths(model, read);
        compare_tables(model, read);
    }

    fn compare_paths(&self, model: &Model, read: &dyn Read) {
        for (&id, seen) in &self.0 {
            match query::path_of(read, id).unwrap() {
                Some(path) => assert_eq!(query::resolve(read, &path).unwrap(), id, "{path:?}"),
                None => assert!(model.has_no_name(id), "no path leads to {id}"),
            }
            for (name, entry) in &seen.entries {
                assert_eq!(query::lookup(read, id, name).unwrap().inode, *entry);
            }
        }
    }

    /// What was not changed by the command at `index` looks as it did, and what looks different was.
    pub fn check_changes(&self, before: &Self, index: LogIndex) {
        for (id, seen) in &self.0 {
            let same =
                before.0.get(id).is_some_and(|before| before.attr == seen.attr && before.entries == seen.entries);
            assert!(same || seen.attr.changed_at == index, "{id} changed, and its changed_at does not say so");
            assert!(seen.attr.changed_at <= index);
        }
    }
}

fn compare_tables(model: &Model, read: &dyn Read) {
    let orphans = query::orphans(read, InodeId(0), usize::MAX).unwrap();
    assert_eq!(orphans.into_iter().map(|(id, _)| id).collect::<BTreeSet<_>>(), model.orphans());
    let garbage = query::garbage(read, ChunkHandle(0), usize::MAX).unwrap();
    let garbage: BTreeMap<_, _> =
        garbage.into_iter().map(|(handle, dead)| (handle, (dead.version, dead.members))).collect();
    assert_eq!(garbage, model.garbage);
    for &id in model.nodes.keys() {
        assert_eq!(query::delegated_to(read, id).unwrap(), model.delegated.get(&id).copied(), "{id}");
    }
    compare_trash(model, read);
    let counters = query::counters(read).unwrap();
    let chunks: usize = model.nodes.values().map(|node| node.chunks.len()).sum();
    let counted = [model.nodes.len(), model.orphans().len(), chunks, garbage.len()].map(|count| count as u64);
    assert_eq!([counters.inodes, counters.orphans, counters.chunks, counters.garbage], counted);
}

fn compare_trash(model: &Model, read: &dyn Read) {
    let mut expected: Vec<_> = model.trash.clone().into_iter().collect();
    expected.sort_by_key(|(id, removed)| (removed.deleted, *id));
    let removed = |(id, was): (InodeId, Trashed)| {
        let Trashed { parent, name, deleted, retention, .. } = was;
        (id, Removed { parent, name, deleted, retention: retention.0 })
    };
    // In pages, as it is read.
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = query::trash(read, after, 3).unwrap();
        after = page.last().map(|(inode, last)| TrashCursor { deleted: last.deleted, inode: *inode });
        found.extend(page.into_iter().map(removed));
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, expected);
    let counters = query::counters(read).unwrap();
    assert_eq!((counters.trash, counters.trash_bytes), (expected.len() as u64, model.trash_bytes()));
    for (&id, node) in model.nodes.iter().filter(|(_, node)| node.kind == FileKind::Directory) {
        assert_eq!(query::retention_of(read, id).unwrap().0.0, node.retention, "{id}");
        let in_it: BTreeSet<_> =
            query::removed_from(read, id, None, usize::MAX).unwrap().into_iter().map(|(_, id, _)| id).collect();
        let expected = model.trash.iter().filter(|(_, removed)| removed.parent == id).map(|(&id, _)| id).collect();
        assert_eq!(in_it, expected, "removed from {id}");
    }
    for (&id, removed) in &model.trash {
        // Where it was is a path on which it is found, unless something of its name was removed there later.
        if let Some(mut path) = query::path_of_directory(read, removed.parent).unwrap() {
            path.push(removed.name.clone());
            let latest = query::find_trash(read, &path).unwrap().removed.unwrap();
            assert!((latest.1.deleted, latest.0) >= (removed.deleted, id), "{path:?}");
        }
    }
}

impl Seen {
    fn new(read: &dyn Read, attr: Attr) -> Self {
        let id = attr.inode;
        let names = query::list_xattr(read, id).unwrap();
        let value = |name: &Name| query::get_xattr(read, id, name).unwrap();
        Self {
            policy: query::policy_of(read, id).unwrap(),
            entries: if attr.kind == FileKind::Directory { entries(read, id) } else { BTreeMap::new() },
            xattrs: names.into_iter().map(|name| (name.clone(), value(&name))).collect(),
            target: query::read_link(read, id).ok(),
            chunks: query::locate(read, id, ChunkIndex(0), INDEXES).unwrap_or_default(),
            attr,
        }
    }

    fn modelled(model: &Model, id: InodeId) -> Self {
        let node = &model.nodes[&id];
        Self {
            attr: model.attr(id),
            policy: node.policy,
            entries: node.entries.clone(),
            xattrs: node.xattrs.clone(),
            target: (node.kind == FileKind::Symlink).then(|| node.target.clone()),
            chunks: model.views(id, ChunkIndex(0), INDEXES),
        }
    }
}

fn entries(read: &dyn Read, id: InodeId) -> BTreeMap<Name, InodeId> {
    let mut all = BTreeMap::new();
    let mut after = DirCookie::START;
    loop {
        let page = query::read_dir(read, ReadDir { inode: id, after, limit: 3, plus: true }).unwrap();
        for entry in page.entries {
            let attr = entry.attr.expect("it was asked for");
            assert_eq!((attr.inode, attr.kind), (entry.inode, entry.kind));
            assert_eq!(all.insert(entry.name, entry.inode), None);
            after = entry.cookie;
        }
        if page.end {
            return all;
        }
    }
}
