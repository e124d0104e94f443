//! The first command of a cluster.

use cairn_proto::attr::MODE_BITS;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ClusterId, DirCookie, InodeId, LogIndex};
use cairn_proto::policy::{Policy, Retention};

use super::super::change::Change;
use super::super::cluster::{self, Cluster};
use super::super::error::Outcome;
use super::super::inode::{Content, Directory, Inode, Times};
use super::super::link::Link;
use super::super::reply::Reply;
use super::set_policy;

pub(super) struct CreateCluster {
    pub cluster: ClusterId,
    /// Of the root directory, as are the two below.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub policy: Policy,
}

impl CreateCluster {
    pub fn run(self, change: &mut Change<'_>) -> Outcome<Reply> {
        if cluster::find(&change.txn)?.is_some() {
            return Err(FsError::Exists.into());
        }
        set_policy::check(&change.txn, self.policy)?;
        let mut root = Inode {
            id: InodeId::ROOT,
            content: Content::Directory(Directory::default()),
            mode: self.mode & MODE_BITS,
            nlink: 2,
            uid: self.uid,
            gid: self.gid,
            times: Times::new(change.at),
            changed_at: LogIndex(0),
            policy: self.policy,
            // The root is its own parent, and no entry names it.
            home: Link { parent: InodeId::ROOT, cookie: DirCookie::START },
            xattr_bytes: 0,
            retention: Retention::OFF,
        };
        change.save(&mut root);
        cluster::put(&mut change.txn, &Cluster { id: self.cluster, created: change.at });
        let counters = change.counters()?;
        counters.used_inode(InodeId::ROOT);
        counters.inodes += 1;
        Ok(Reply::Done)
    }
}
