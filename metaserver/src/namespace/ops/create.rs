//! `open(O_CREAT)`, `mkdir`, `mknod`, `symlink`.

use bytes::Bytes;
use cairn_proto::attr::{Credentials, FileKind, LINK_MAX, MODE_BITS, S_ISGID, SYMLINK_MAX_BYTES};
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::NewNode;
use cairn_proto::name::Name;
use cairn_proto::policy::Retention;

use super::super::change::Change;
use super::super::delegation;
use super::super::dentry::{self, Dentry};
use super::super::error::Outcome;
use super::super::inode::{self, Content, Directory, File, Inode, Times};
use super::super::reply::Reply;
use super::super::xattr::{self, ACL_ACCESS, ACL_DEFAULT};

/// Permission bits of every symlink; nobody looks at them.
const SYMLINK_MODE: u32 = 0o777;

/// The number for a new inode.
#[derive(Clone, Copy)]
pub(super) enum Number {
    /// The proposer chose it.
    Ours(InodeId),
    /// The client chose it, under a delegation.
    Ahead(InodeId),
}

pub(super) struct Create<'a> {
    pub parent: InodeId,
    pub name: &'a Name,
    pub node: &'a NewNode,
    pub mode: u32,
    pub umask: u32,
    pub owner: Credentials,
    pub exclusive: bool,
    pub number: Result<Number, FsError>,
}

impl Create<'_> {
    pub fn run(self, change: &mut Change<'_>) -> Outcome<Reply> {
        let content = content_of(self.node)?;
        let mut parent = inode::get_living_directory(&change.txn, self.parent)?;
        let before = parent.changed_at;
        if let Some(existing) = dentry::find(&change.txn, parent.id, self.name)? {
            return self.open_existing(change, &parent, existing);
        }
        if content.kind() == FileKind::Directory {
            if parent.nlink >= LINK_MAX {
                return Err(FsError::TooManyLinks.into());
            }
            parent.nlink += 1;
        }
        let link = dentry::next_link(&mut parent)?;
        let mut inode = Inode {
            id: self.fresh_id(change)?,
            nlink: if content.kind() == FileKind::Directory { 2 } else { 1 },
            retention: if content.kind() == FileKind::Directory { parent.retention } else { Retention::OFF },
            content,
            mode: self.mode & MODE_BITS,
            uid: self.owner.uid,
            gid: self.owner.gid,
            times: Times::new(change.at),
            changed_at: parent.changed_at,
            policy: parent.policy,
            home: link,
            xattr_bytes: 0,
        };
        inherit_group(&parent, &mut inode);
        self.inherit_permissions(change, &parent, &mut inode)?;
        dentry::insert(&mut change.txn, &mut parent, self.name, &inode, link)?;
        parent.touch_contents(change.at);
        change.save(&mut inode);
        change.save(&mut parent);
        change.counters()?.inodes += 1;
        self.delegate_along(change, &inode)?;
        Ok(Reply::Entry { attr: inode.attr(), parent: parent.changed(before), created: true, policy: inode.policy })
    }

    /// The name is taken. That is fine for `open` without `O_EXCL`.
    fn open_existing(&self, change: &Change<'_>, parent: &Inode, existing: Dentry) -> Outcome<Reply> {
        if self.exclusive || *self.node != NewNode::File {
            return Err(FsError::Exists.into());
        }
        match existing.kind {
            FileKind::File => {
                let inode = inode::of_entry(&change.txn, existing.inode)?;
                // Its other names may be in directories that are delegated.
                delegation::admit_inode(&change.txn, change.caller, &inode)?;
                Ok(Reply::Entry {
                    attr: inode.attr(),
                    parent: parent.changed(parent.changed_at),
                    created: false,
                    policy: inode.policy,
                })
            }
            FileKind::Directory => Err(FsError::IsDirectory.into()),
            _ => Err(FsError::Exists.into()),
        }
    }

    fn fresh_id(&self, change: &mut Change<'_>) -> Outcome<InodeId> {
        // A proposer that gives out a number twice is asked for another one, rather than that an inode is lost. A client cannot
        // choose again: it has told others already.
        let (id, taken) = match self.number.clone()? {
            Number::Ours(id) => (id, FsError::NotReady),
            Number::Ahead(id) => (id, FsError::InvalidArgument),
        };
        let is_new = id >= change.counters()?.next_inode;
        if !is_new && inode::find(&change.txn, id)?.is_some() {
            return Err(taken.into());
        }
        change.counters()?.used_inode(id);
        Ok(id)
    }

    /// Who makes a directory ahead goes on to fill it: it is delegated from the start.
    fn delegate_along(&self, change: &mut Change<'_>, inode: &Inode) -> Outcome<()> {
        let (Ok(Number::Ahead(_)), Some(caller)) = (&self.number, change.caller) else { return Ok(()) };
        if inode.is_directory() && delegation::holder(&change.txn, self.parent)? == Some(caller) {
            delegation::put(&mut change.txn, inode.id, caller);
        }
        Ok(())
    }

    /// Permissions come from the parent's default ACL where it has one, else from the umask.
    fn inherit_permissions(&self, change: &mut Change<'_>, parent: &Inode, inode: &mut Inode) -> Outcome<()> {
        if inode.kind() == FileKind::Symlink {
            inode.mode = SYMLINK_MODE;
            return Ok(());
        }
        let Some(default) = xattr::find_acl(&change.txn, parent, ACL_DEFAULT)? else {
            inode.mode &= !(self.umask & 0o777);
            return Ok(());
        };
        let mut access = default.clone();
        inode.mode = access.restrict(inode.mode);
        if !access.is_minimal() {
            xattr::put(change, inode, ACL_ACCESS, access.to_bytes().into())?;
        }
        if inode.is_directory() {
            xattr::put(change, inode, ACL_DEFAULT, Bytes::from(default.to_bytes()))?;
        }
        Ok(())
    }
}

/// In a setgid directory everything belongs to the directory's group, and directories are setgid again.
fn inherit_group(parent: &Inode, inode: &mut Inode) {
    if parent.mode & S_ISGID != 0 {
        inode.gid = parent.gid;
        if inode.is_directory() {
            inode.mode |= S_ISGID;
        }
    }
}

fn content_of(node: &NewNode) -> Result<Content, FsError> {
    Ok(match node {
        NewNode::File => Content::File(File::default()),
        NewNode::Directory => Content::Directory(Directory::default()),
        NewNode::Symlink { target } => {
            check_target(target)?;
            Content::Symlink { target: target.clone() }
        }
        NewNode::Fifo => Content::Fifo,
        NewNode::Socket => Content::Socket,
        NewNode::CharDevice { rdev } => Content::CharDevice { rdev: *rdev },
        NewNode::BlockDevice { rdev } => Content::BlockDevice { rdev: *rdev },
    })
}

fn check_target(target: &[u8]) -> Result<(), FsError> {
    match target {
        [] => Err(FsError::NotFound),
        _ if target.len() > SYMLINK_MAX_BYTES => Err(FsError::NameTooLong),
        _ if target.contains(&0) => Err(FsError::InvalidArgument),
        _ => Ok(()),
    }
}
