//! The directories that are delegated to this mount, and what it alone answers for: their entries, and the attributes of what
//! they name.
//!
//! A directory's own attributes and entries belong to its own delegation; those of anything else to the delegations of the directories
//! that name it. Of a file with several names this mount may not hold all, so it answers for files with one name only.
//!
//! Nothing in here waits, asks or sends: see [`super::rules`] for what operations do to it, [`super::journal`] for how they are
//! sent.

use std::collections::HashMap;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::chunk::{CHUNK_SIZE, ChunkLocation};
use cairn_proto::ids::{InodeId, LogIndex};
use cairn_proto::meta::{Delegation, DirEntry, Lease, Opened};
use cairn_proto::name::Name;
use cairn_proto::policy::Policy;

/// So many files of a directory are opened one by one; then all its chunks are located at once.
const OPENS_TO_LOCATE: u32 = 8;
/// After a program has waited for a new file to be durable, so many creations beside it are sent at once.
const HASTY_CREATIONS: u32 = 8;

/// What a name in a delegated directory leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub inode: InodeId,
    pub kind: FileKind,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// With the attributes, where this mount answers for them.
    Inode(InodeId, Option<Attr>),
    Absent,
}

/// How far a delegation is.
#[derive(Clone, Debug)]
enum Stage {
    /// It is asked for, or its entries are being read. Entries that this mount has changed meanwhile stand here, and count.
    Loading { changed: HashMap<Name, Option<Child>> },
    /// All entries are known. New ones inherit both: what is asked for, and whether what is removed is kept in the trash.
    Held { policy: Policy, keeps: bool },
    /// It is being returned.
    Leaving,
}

/// A delegated directory.
#[derive(Debug)]
pub(super) struct Dir {
    stage: Stage,
    pub names: HashMap<Name, Child>,
    /// Files in it that were opened at the metaserver, since somebody last looked where all of them are.
    opens: u32,
    /// When it was last used, on the table's own clock.
    used: u64,
    /// Creations that are still to be sent at once: see [`Table::waited_for`].
    hasty: u32,
}

/// An inode that this mount answers for.
#[derive(Debug)]
pub(super) struct Node {
    pub attr: Attr,
    /// The directory that names it; of a directory: itself, as its own delegation covers it.
    pub home: InodeId,
    /// Its size is newer than the rest of `attr`.
    merged: bool,
    /// Of a file of one chunk: where that is, as far as it is known.
    chunk: Option<Box<ChunkLocation>>,
    /// A file that this mount has made, and the metaserver knows of no byte in it: there are none that could be lost for those to come.
    fresh: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    dirs: HashMap<InodeId, Dir>,
    nodes: HashMap<InodeId, Node>,
    /// Entries over all directories.
    entries: usize,
    /// What the metaserver is being asked to change, and how often: nothing is done here meanwhile.
    asking: HashMap<InodeId, u32>,
    /// Directories that are being loaded, and the newest that was heard meanwhile of inodes that this mount does not answer for yet: what
    /// is loaded may have been read before, and arrive later.
    loading: Vec<InodeId>,
    heard: HashMap<InodeId, Attr>,
    clock: u64,
}

impl Table {
    pub fn entries(&self) -> usize {
        self.entries
    }

    pub fn knows(&self, dir: InodeId) -> bool {
        self.dirs.contains_key(&dir)
    }

    /// A directory in which something may be done here and now.
    pub fn usable(&mut self, id: InodeId) -> Option<&mut Dir> {
        self.clock += 1;
        let clock = self.clock;
        if self.asking.contains_key(&id) {
            return None;
        }
        let dir = self.dirs.get_mut(&id).filter(|dir| dir.is_held())?;
        dir.used = clock;
        Some(dir)
    }

    pub fn is_usable(&self, dir: InodeId) -> bool {
        self.is_held(dir) && !self.asking.contains_key(&dir)
    }

    /// Whether all entries of a directory are known here, also while something is being asked for.
    pub fn is_held(&self, dir: InodeId) -> bool {
        self.dirs.get(&dir).is_some_and(Dir::is_held)
    }

    pub fn node(&self, inode: InodeId) -> Option<&Node> {
        self.nodes.get(&inode)
    }

    pub fn attr(&self, inode: InodeId) -> Option<&Attr> {
        self.nodes.get(&inode).map(|node| &node.attr)
    }

    pub fn attr_mut(&mut self, inode: InodeId) -> Option<&mut Attr> {
        self.nodes.get_mut(&inode).map(|node| &mut node.attr)
    }

    pub fn find(&self, parent: InodeId, name: &Name) -> Option<Found> {
        let dir = self.dirs.get(&parent).filter(|dir| dir.is_held())?;
        Some(match dir.names.get(name) {
            Some(child) => Found::Inode(child.inode, self.attr(child.inode).cloned()),
            None => Found::Absent,
        })
    }

    /// Enters a name that leads to `attr`, and with it what this mount answers for from now on.
    pub fn enter(&mut self, parent: InodeId, name: Name, attr: &Attr) {
        let child = Child { inode: attr.inode, kind: attr.kind };
        let Some(dir) = self.dirs.get_mut(&parent) else { return self.forget_node(attr.inode) };
        if let Stage::Loading { changed } = &mut dir.stage {
            changed.insert(name.clone(), Some(child));
        }
        if dir.names.insert(name, child).is_none() {
            self.entries += 1;
        }
        if attr.kind == FileKind::Directory {
            return;
        }
        if attr.nlink == 1 {
            self.keep_node(attr, parent);
        } else {
            self.nodes.remove(&attr.inode);
        }
    }

    /// A name is gone. What it led to is no longer this mount's to answer for, unless it is entered elsewhere.
    pub fn leave(&mut self, parent: InodeId, name: &Name) -> Option<Child> {
        let dir = self.dirs.get_mut(&parent)?;
        if let Stage::Loading { changed } = &mut dir.stage {
            changed.insert(name.clone(), None);
        }
        let child = dir.names.remove(name)?;
        self.entries -= 1;
        Some(child)
    }

    /// Attributes that the metaserver has answered. `pending`: something was done here that they do not show yet.
    pub fn learn(&mut self, attr: &Attr, pending: bool) {
        let Some(node) = self.nodes.get_mut(&attr.inode) else { return self.hear(attr) };
        let is_newer = attr.changed_at >= node.attr.changed_at;
        if (attr.size, attr.mtime) != (node.attr.size, node.attr.mtime) {
            node.chunk = None;
        }
        node.fresh &= attr.allocated == 0;
        if pending && is_newer {
            // What was written is not the journal's business.
            node.attr.size = attr.size;
            node.attr.allocated = attr.allocated;
            node.attr.changed_at = attr.changed_at;
            node.merged = true;
        } else if is_newer {
            node.attr = attr.clone();
            node.merged = false;
        }
        // An answer was overtaken by one that did not tell everything: nobody knows it all.
        let is_unsure = !pending && !is_newer && node.merged;
        let has_more_names = attr.kind != FileKind::Directory && attr.nlink > 1;
        if is_unsure || has_more_names {
            self.nodes.remove(&attr.inode);
        }
    }

    fn hear(&mut self, attr: &Attr) {
        let is_newest = || self.heard.get(&attr.inode).is_none_or(|heard| heard.changed_at <= attr.changed_at);
        if !self.loading.is_empty() && is_newest() {
            self.heard.insert(attr.inode, attr.clone());
        }
    }

    /// These, or newer ones that were heard since a directory began to be loaded.
    fn newest(&self, attr: Attr) -> Attr {
        self.heard.get(&attr.inode).filter(|heard| heard.changed_at > attr.changed_at).cloned().unwrap_or(attr)
    }

    /// Drops what nobody waits for any more.
    fn end_loading(&mut self) {
        let dirs = &self.dirs;
        self.loading.retain(|dir| dirs.get(dir).is_some_and(|dir| matches!(dir.stage, Stage::Loading { .. })));
        if self.loading.is_empty() {
            self.heard.clear();
        }
    }

    fn keep_node(&mut self, attr: &Attr, home: InodeId) {
        match self.nodes.get_mut(&attr.inode) {
            Some(node) => {
                node.home = home;
                if attr.changed_at >= node.attr.changed_at {
                    node.attr = attr.clone();
                }
            }
            None => {
                self.nodes.insert(attr.inode, Node::new(attr, home));
            }
        }
    }

    pub fn forget_node(&mut self, inode: InodeId) {
        if !self.dirs.contains_key(&inode) {
            self.nodes.remove(&inode);
        }
    }

    /// A file that this mount has just made.
    pub fn made_file(&mut self, inode: InodeId) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.fresh = true;
        }
    }

    /// Whether a file is new, and nobody else can look at it without a recall.
    pub fn is_fresh(&self, file: InodeId) -> bool {
        self.nodes.get(&file).is_some_and(|node| node.fresh && node.attr.nlink == 1 && self.is_held(node.home))
    }

    /// Whether what is removed from a directory that is held is kept in the trash.
    pub fn keeps(&self, dir: InodeId) -> bool {
        self.dirs.get(&dir).is_some_and(Dir::keeps)
    }

    /// Whether a file is in a directory that is held, and has no other name.
    pub fn is_alone_with(&self, file: InodeId) -> bool {
        let is_alone = |node: &Node| node.home != file && node.attr.nlink == 1 && self.is_held(node.home);
        !self.asking.contains_key(&file) && self.nodes.get(&file).is_some_and(is_alone)
    }

    /// A program waits for a new file to be durable. It, or others like it, will wait for the next ones in that directory, too: those
    /// are sent while they are written.
    pub fn waited_for(&mut self, file: InodeId) {
        let Some(home) = self.nodes.get(&file).map(|node| node.home) else { return };
        if let Some(dir) = self.dirs.get_mut(&home) {
            dir.hasty = HASTY_CREATIONS;
        }
    }

    /// Something was created in a directory: whether that is to be sent at once.
    pub fn is_hasty(&mut self, dir: InodeId) -> bool {
        let Some(dir) = self.dirs.get_mut(&dir) else { return false };
        let is_hasty = dir.hasty > 0;
        dir.hasty = dir.hasty.saturating_sub(1);
        is_hasty
    }

    /// A directory that this mount has made: it is empty, and delegated.
    pub fn made(&mut self, attr: &Attr, policy: Policy, keeps: bool) {
        self.clock += 1;
        let stage = Stage::Held { policy, keeps };
        let dir = Dir { stage, names: HashMap::new(), opens: 0, used: self.clock, hasty: 0 };
        self.dirs.insert(attr.inode, dir);
        self.nodes.insert(attr.inode, Node::new(attr, attr.inode));
    }

    /// A delegation is about to be asked for. From now on changes are noted.
    pub fn begin_loading(&mut self, inode: InodeId) -> bool {
        if self.dirs.contains_key(&inode) {
            return false;
        }
        self.clock += 1;
        let stage = Stage::Loading { changed: HashMap::new() };
        self.dirs.insert(inode, Dir { stage, names: HashMap::new(), opens: 0, used: self.clock, hasty: 0 });
        self.loading.push(inode);
        true
    }

    /// A page of a directory that is being loaded. Answers false where it was recalled meanwhile.
    pub fn load(&mut self, inode: InodeId, page: Vec<DirEntry>) -> bool {
        let Some(dir) = self.dirs.get_mut(&inode) else { return false };
        let Stage::Loading { changed } = &dir.stage else { return false };
        let mut seen = Vec::with_capacity(page.len());
        for entry in page {
            if changed.contains_key(&entry.name) {
                continue;
            }
            let child = Child { inode: entry.inode, kind: entry.kind };
            if dir.names.insert(entry.name, child).is_none() {
                self.entries += 1;
            }
            seen.extend(entry.attr);
        }
        for attr in seen {
            let attr = self.newest(attr);
            if attr.kind != FileKind::Directory && attr.nlink == 1 {
                self.keep_node(&attr, inode);
            }
        }
        true
    }

    /// All of it is loaded. Answers false where it was recalled meanwhile.
    pub fn loaded(&mut self, delegation: Delegation, keeps: bool) -> bool {
        let inode = delegation.attr.inode;
        let Some(dir) = self.dirs.get_mut(&inode) else { return false };
        if !matches!(dir.stage, Stage::Loading { .. }) {
            return false;
        }
        dir.stage = Stage::Held { policy: delegation.policy, keeps };
        let attr = self.newest(delegation.attr);
        self.keep_node(&attr, inode);
        self.end_loading();
        true
    }

    /// Nothing more is done here in this directory.
    pub fn begin_leaving(&mut self, inode: InodeId) {
        if let Some(dir) = self.dirs.get_mut(&inode) {
            dir.stage = Stage::Leaving;
        }
        self.end_loading();
    }

    /// The directory is not delegated any more.
    pub fn remove(&mut self, inode: InodeId) {
        let Some(dir) = self.dirs.remove(&inode) else { return };
        self.end_loading();
        self.entries -= dir.names.len();
        self.nodes.remove(&inode);
        for child in dir.names.values() {
            if self.nodes.get(&child.inode).is_some_and(|node| node.home == inode) {
                self.nodes.remove(&child.inode);
            }
        }
    }

    /// A removed inode can be looked at until the metaserver knows of its removal.
    pub fn bury(&mut self, inode: InodeId) {
        if let Some(dir) = self.dirs.remove(&inode) {
            self.entries -= dir.names.len();
        }
        self.end_loading();
    }

    /// Drops what is left of a removed inode.
    pub fn exhume(&mut self, inode: InodeId) {
        if self.nodes.get(&inode).is_some_and(|node| node.attr.nlink == 0) {
            self.nodes.remove(&inode);
        }
    }

    /// Something concerning `inode` is asked for at the metaserver.
    pub fn begin_asking(&mut self, inode: InodeId) {
        *self.asking.entry(inode).or_default() += 1;
    }

    pub fn is_asking(&self, inode: InodeId) -> bool {
        self.asking.contains_key(&inode)
    }

    pub fn end_asking(&mut self, inode: InodeId) {
        if let Some(count) = self.asking.get_mut(&inode) {
            *count -= 1;
            if *count == 0 {
                self.asking.remove(&inode);
            }
        }
    }

    /// The held directories that were not used for longest, with at least `entries` entries together.
    pub fn oldest(&self, entries: usize) -> Vec<InodeId> {
        let mut held: Vec<_> = self.dirs.iter().filter(|(_, dir)| dir.is_held()).collect();
        held.sort_unstable_by_key(|(_, dir)| dir.used);
        let mut found = 0;
        let enough = |(_, dir): &(&InodeId, &Dir)| {
            let wanted = found < entries;
            found += dir.names.len() + 1;
            wanted
        };
        held.into_iter().take_while(enough).map(|(&inode, _)| inode).collect()
    }

    /// What opening a file for reading needs, where it is known. `is_at_hand`: what is known of its bytes elsewhere will do.
    pub fn open(&self, inode: InodeId, is_at_hand: bool) -> Option<Opened> {
        let Node { attr, home, chunk, .. } = self.nodes.get(&inode)?;
        let policy = self.dirs.get(home)?.policy()?;
        let is_known = is_at_hand || attr.size == 0 || chunk.is_some();
        let serves = attr.kind == FileKind::File && attr.nlink == 1 && is_known;
        serves.then(|| Opened {
            attr: attr.clone(),
            policy,
            chunks: chunk.iter().map(|chunk| (**chunk).clone()).collect(),
            lease: Lease::None,
            contended: false,
        })
    }

    /// A file was opened at the metaserver. Answers the files of its directory whose chunks are to be located, where they are many.
    pub fn opened_there(&mut self, inode: InodeId) -> Vec<InodeId> {
        let Some(home) = self.nodes.get(&inode).map(|node| node.home) else { return Vec::new() };
        let Some(dir) = self.dirs.get_mut(&home).filter(|dir| dir.is_held()) else { return Vec::new() };
        dir.opens += 1;
        if dir.opens < OPENS_TO_LOCATE {
            return Vec::new();
        }
        dir.opens = 0;
        let lacks_chunk = |inode: &InodeId| {
            let is_lacking = |node: &Node| node.chunk.is_none() && (1..=CHUNK_SIZE).contains(&node.attr.size);
            self.nodes.get(inode).is_some_and(is_lacking)
        };
        let files = dir.names.values().filter(|child| child.kind == FileKind::File).map(|child| child.inode);
        files.filter(lacks_chunk).collect()
    }

    /// Where the first chunk of a file is, unless the file has changed since `attr`.
    pub fn located(&mut self, inode: InodeId, changed_at: LogIndex, chunk: ChunkLocation) {
        if let Some(node) = self.nodes.get_mut(&inode)
            && node.attr.changed_at == changed_at
        {
            node.chunk = Some(Box::new(chunk));
        }
    }

    /// What a directory names.
    pub fn named_in(&self, dir: InodeId) -> Vec<InodeId> {
        let children = self.dirs.get(&dir).into_iter().flat_map(|dir| dir.names.values());
        children.map(|child| child.inode).collect()
    }

    /// All delegated directories.
    pub fn dirs(&self) -> Vec<InodeId> {
        self.dirs.keys().copied().collect()
    }

    pub fn clear(&mut self) {
        let asking = std::mem::take(&mut self.asking);
        *self = Self { clock: self.clock, asking, ..Self::default() };
    }
}

impl Node {
    fn new(attr: &Attr, home: InodeId) -> Self {
        Self { attr: attr.clone(), home, merged: false, chunk: None, fresh: false }
    }
}

impl Dir {
    fn is_held(&self) -> bool {
        matches!(self.stage, Stage::Held { .. })
    }

    /// What new entries inherit.
    pub fn policy(&self) -> Option<Policy> {
        match self.stage {
            Stage::Held { policy, .. } => Some(policy),
            Stage::Loading { .. } | Stage::Leaving => None,
        }
    }

    /// Whether what is removed is kept in the trash, as far as that is known.
    fn keeps(&self) -> bool {
        matches!(self.stage, Stage::Held { keeps: true, .. })
    }
}

/// Of an inode that the metaserver has not seen yet.
pub(super) const UNSEEN: LogIndex = LogIndex(0);
