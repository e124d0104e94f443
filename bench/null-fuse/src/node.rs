//! One inode: its attributes and, where it has any, its entries or its link target.

use std::path::PathBuf;
use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo};

use crate::directory::Directory;

/// Size of the blocks in which `st_blocks` is counted.
const STAT_BLOCK_BYTES: u64 = 512;

#[derive(Debug)]
pub struct Node {
    pub attr: FileAttr,
    pub body: Body,
}

/// What an inode holds besides attributes. File contents are not kept.
#[derive(Debug)]
pub enum Body {
    Directory(Directory),
    Symlink(PathBuf),
    Other,
}

/// Who makes a node, and with which permissions.
#[derive(Debug, Clone, Copy)]
pub struct Creation {
    pub kind: FileType,
    pub perm: u16,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
}

impl Node {
    pub fn new(ino: INodeNo, creation: Creation, body: Body) -> Self {
        let now = SystemTime::now();
        let nlink = if creation.kind == FileType::Directory { 2 } else { 1 };
        let attr = FileAttr {
            ino,
            size: 0,
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            kind: creation.kind,
            perm: creation.perm,
            nlink,
            uid: creation.uid,
            gid: creation.gid,
            rdev: creation.rdev,
            blksize: 4096,
            flags: 0,
        };
        let mut node = Self { attr, body };
        if let Body::Symlink(target) = &node.body {
            node.attr.size = target.as_os_str().len() as u64;
        }
        node
    }

    pub fn resize(&mut self, size: u64) {
        self.attr.size = size;
        self.attr.blocks = size.div_ceil(STAT_BLOCK_BYTES);
        self.touch();
    }

    /// Notes a change of contents.
    pub fn touch(&mut self) {
        let now = SystemTime::now();
        self.attr.mtime = now;
        self.attr.ctime = now;
    }
}
