//! The namespace: every inode by its number, and the operations on names.

use std::collections::HashMap;
use std::ffi::OsStr;

use fuser::{Errno, FileAttr, FileType, INodeNo, RenameFlags};

use crate::directory::Directory;
use crate::node::{Body, Creation, Node};

/// All inodes. One lock around it is held for a microsecond per call, which is small beside a trip through the kernel.
#[derive(Debug)]
pub struct Table {
    nodes: HashMap<INodeNo, Node>,
    next_ino: u64,
}

impl Table {
    /// A table with nothing but the root, owned by `uid` and `gid`.
    pub fn new(uid: u32, gid: u32) -> Self {
        let root = Creation { kind: FileType::Directory, perm: 0o755, uid, gid, rdev: 0 };
        let node = Node::new(INodeNo::ROOT, root, Body::Directory(Directory::new(INodeNo::ROOT)));
        Self { nodes: HashMap::from([(INodeNo::ROOT, node)]), next_ino: INodeNo::ROOT.0 + 1 }
    }

    pub fn node(&self, ino: INodeNo) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::ENOENT)
    }

    pub fn node_mut(&mut self, ino: INodeNo) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    pub fn directory(&self, ino: INodeNo) -> Result<&Directory, Errno> {
        match &self.node(ino)?.body {
            Body::Directory(directory) => Ok(directory),
            Body::Symlink(_) | Body::Other => Err(Errno::ENOTDIR),
        }
    }

    pub fn lookup(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let ino = self.directory(parent)?.get(name).ok_or(Errno::ENOENT)?;
        Ok(self.node(ino)?.attr)
    }

    pub fn create(&mut self, parent: INodeNo, name: &OsStr, creation: Creation, body: Body) -> Result<FileAttr, Errno> {
        if self.directory(parent)?.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let ino = INodeNo(self.next_ino);
        self.next_ino += 1;
        let node = Node::new(ino, creation, body);
        let attr = node.attr;
        self.nodes.insert(ino, node);
        self.attach(parent, name, ino)?;
        Ok(attr)
    }

    pub fn mkdir(&mut self, parent: INodeNo, name: &OsStr, creation: Creation) -> Result<FileAttr, Errno> {
        self.create(parent, name, creation, Body::Directory(Directory::new(parent)))
    }

    pub fn link(&mut self, ino: INodeNo, parent: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        if self.directory(parent)?.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let node = self.node_mut(ino)?;
        if node.attr.kind == FileType::Directory {
            return Err(Errno::EPERM);
        }
        node.attr.nlink += 1;
        let attr = node.attr;
        self.attach(parent, name, ino)?;
        Ok(attr)
    }

    pub fn unlink(&mut self, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
        let target = self.lookup(parent, name)?;
        if target.kind == FileType::Directory {
            return Err(Errno::EISDIR);
        }
        self.detach(parent, name)
    }

    pub fn rmdir(&mut self, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
        let target = self.lookup(parent, name)?;
        if !self.directory(target.ino)?.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.detach(parent, name)
    }

    pub fn rename(&mut self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr), flags: RenameFlags) -> Result<(), Errno> {
        let source = self.lookup(from.0, from.1)?;
        let replaced = self.directory(to.0)?.get(to.1);
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            let other = replaced.ok_or(Errno::ENOENT)?;
            self.attach(from.0, from.1, other)?;
            return self.attach(to.0, to.1, source.ino);
        }
        match replaced {
            Some(_) if flags.contains(RenameFlags::RENAME_NOREPLACE) => return Err(Errno::EEXIST),
            Some(other) if other == source.ino => return Ok(()),
            Some(other) => {
                if matches!(self.directory(other), Ok(directory) if !directory.is_empty()) {
                    return Err(Errno::ENOTEMPTY);
                }
                self.detach(to.0, to.1)?;
            }
            None => {}
        }
        self.attach(to.0, to.1, source.ino)?;
        self.entries_mut(from.0)?.remove(from.1);
        Ok(())
    }

    /// Drops an inode that has no name any more, once the kernel has let go of it.
    pub fn forget(&mut self, ino: INodeNo) {
        if self.nodes.get(&ino).is_some_and(|node| node.attr.nlink == 0) {
            self.nodes.remove(&ino);
        }
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    fn entries_mut(&mut self, ino: INodeNo) -> Result<&mut Directory, Errno> {
        let node = self.node_mut(ino)?;
        node.touch();
        match &mut node.body {
            Body::Directory(directory) => Ok(directory),
            Body::Symlink(_) | Body::Other => Err(Errno::ENOTDIR),
        }
    }

    /// Names `ino` in `parent`, in place of what had the name before; link counts of files are the caller's.
    fn attach(&mut self, parent: INodeNo, name: &OsStr, ino: INodeNo) -> Result<(), Errno> {
        self.entries_mut(parent)?.insert(name, ino);
        if let Body::Directory(directory) = &mut self.node_mut(ino)?.body {
            directory.parent = parent;
        }
        Ok(())
    }

    fn detach(&mut self, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
        let ino = self.entries_mut(parent)?.remove(name).ok_or(Errno::ENOENT)?;
        let node = self.node_mut(ino)?;
        node.attr.nlink = if node.attr.kind == FileType::Directory { 0 } else { node.attr.nlink - 1 };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: INodeNo = INodeNo::ROOT;

    fn file() -> Creation {
        Creation { kind: FileType::RegularFile, perm: 0o644, uid: 0, gid: 0, rdev: 0 }
    }

    fn directory() -> Creation {
        Creation { kind: FileType::Directory, perm: 0o755, uid: 0, gid: 0, rdev: 0 }
    }

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    #[test]
    fn a_file_lives_until_its_last_name_is_gone_and_forgotten() {
        let mut table = Table::new(0, 0);
        let ino = table.create(ROOT, name("a"), file(), Body::Other).unwrap().ino;
        assert_eq!(table.link(ino, ROOT, name("b")).unwrap().nlink, 2);
        table.unlink(ROOT, name("a")).unwrap();
        table.forget(ino);
        assert_eq!(table.lookup(ROOT, name("b")).unwrap().nlink, 1);
        table.unlink(ROOT, name("b")).unwrap();
        assert!(table.node(ino).is_ok(), "an open file outlives its name");
        table.forget(ino);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn rename_moves_replaces_and_refuses() {
        let mut table = Table::new(0, 0);
        let inner = table.mkdir(ROOT, name("d"), directory()).unwrap().ino;
        let moved = table.create(ROOT, name("a"), file(), Body::Other).unwrap().ino;
        table.create(inner, name("b"), file(), Body::Other).unwrap();
        let refused = table.rename((ROOT, name("a")), (inner, name("b")), RenameFlags::RENAME_NOREPLACE);
        assert_eq!(refused.unwrap_err(), Errno::EEXIST);
        table.rename((ROOT, name("a")), (inner, name("b")), RenameFlags::empty()).unwrap();
        assert_eq!(table.lookup(inner, name("b")).unwrap().ino, moved);
        assert_eq!(table.lookup(ROOT, name("a")).unwrap_err(), Errno::ENOENT);
    }

    #[test]
    fn exchange_swaps_two_names() {
        let mut table = Table::new(0, 0);
        let first = table.create(ROOT, name("a"), file(), Body::Other).unwrap().ino;
        let second = table.create(ROOT, name("b"), file(), Body::Other).unwrap().ino;
        table.rename((ROOT, name("a")), (ROOT, name("b")), RenameFlags::RENAME_EXCHANGE).unwrap();
        assert_eq!(table.lookup(ROOT, name("a")).unwrap().ino, second);
        assert_eq!(table.lookup(ROOT, name("b")).unwrap().ino, first);
    }

    #[test]
    fn a_directory_goes_only_when_empty() {
        let mut table = Table::new(0, 0);
        let inner = table.mkdir(ROOT, name("d"), directory()).unwrap().ino;
        table.create(inner, name("a"), file(), Body::Other).unwrap();
        assert_eq!(table.rmdir(ROOT, name("d")).unwrap_err(), Errno::ENOTEMPTY);
        assert_eq!(table.unlink(ROOT, name("d")).unwrap_err(), Errno::EISDIR);
        table.unlink(inner, name("a")).unwrap();
        table.rmdir(ROOT, name("d")).unwrap();
        assert_eq!(table.lookup(ROOT, name("d")).unwrap_err(), Errno::ENOENT);
    }
}
