//! Client to metaserver: the namespace.
//!
//! Reads are calls of their own. Every change is one [`Mutation`] under an [`OpId`]: the shape in which it is retried, batched
//! and answered from the ledger.

use serde::{Deserialize, Serialize};

use crate::attr::{Attr, Credentials, FileKind, SetAttr};
use crate::chunk::ChunkLocation;
use crate::error::FsError;
use crate::ids::{
    ChunkHandle, ChunkIndex, ChunkVersion, ClusterId, DirCookie, InodeId, LogIndex, OpId, ServerId, SessionId,
};
use crate::labels::Labels;
use crate::lock::{Lock, LockOutcome, LockRange, LocksOf};
use crate::name::Name;
use crate::policy::{Policy, PolicyChange};
use crate::time::Timestamp;
use crate::trash::{TrashCursor, TrashEntry, TrashPage};

/// Bytes in the longest value of one extended attribute (`XATTR_SIZE_MAX`).
pub const XATTR_SIZE_MAX: usize = 64 << 10;
/// Bytes in the longest list of xattr names of one inode (`XATTR_LIST_MAX`).
pub const XATTR_LIST_MAX: usize = 64 << 10;
/// Mutations in one [`MetaService::mutate`] call at most.
pub const MAX_BATCH_OPS: usize = 1024;
/// Chunks named or allocated in one call at most.
pub const MAX_CHUNKS_PER_CALL: u32 = 64;
/// Files in one [`MetaService::locate_first`] call at most.
pub const MAX_LOCATE_FIRST: usize = 256;
/// Entries in one page of [`MetaService::read_dir`] at most.
pub const MAX_DIR_PAGE: u32 = 4096;
/// Inodes in one [`MetaService::release`] call at most.
pub const MAX_RELEASE: usize = 4096;
/// Inodes in one call about leases at most.
pub const MAX_LEASES_PER_CALL: usize = 4096;
/// Inode numbers in one [`MetaService::reserve_inodes`] call at most.
pub const MAX_RESERVED_INODES: u32 = 16 << 10;

/// Chunkservers in one [`MetaService::places`] call at most.
pub const MAX_PLACES_PER_CALL: usize = 256;

/// What a new inode is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum NewNode {
    File,
    Directory,
    /// At most [`crate::attr::SYMLINK_MAX_BYTES`], not empty.
    Symlink {
        target: Vec<u8>,
    },
    Fifo,
    Socket,
    CharDevice {
        rdev: u32,
    },
    BlockDevice {
        rdev: u32,
    },
}

/// How `rename` treats an existing target.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum RenameMode {
    /// POSIX: replaced atomically.
    Replace,
    /// `RENAME_NOREPLACE`.
    NoReplace,
    /// `RENAME_EXCHANGE`: both exist and change places.
    Exchange,
}

/// How `setxattr` treats an existing attribute.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum XattrMode {
    Any,
    /// `XATTR_CREATE`.
    Create,
    /// `XATTR_REPLACE`.
    Replace,
}

/// What one writer did to one chunk, as far as its acknowledgements say.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ChunkExtent {
    pub index: ChunkIndex,
    pub handle: ChunkHandle,
    /// Bytes from the chunk's start to the last one written. The stored length only grows by this.
    pub length: u32,
    /// Bytes of the chunk that hold data now (blocks that are not holes).
    pub allocated: u32,
}

/// A change to the namespace. Names say what POSIX calls them; errors are those of the man pages.
///
/// Permissions are checked by the client's kernel (`default_permissions`); the metaserver checks what needs the stored state:
/// existence, types, emptiness, limits, ACL inheritance, setgid and the clearing of setuid.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Mutation {
    /// `open(O_CREAT)`, `mkdir`, `mknod`, `symlink`. Answers [`MutationReply::Entry`].
    Create {
        parent: InodeId,
        name: Name,
        node: NewNode,
        /// Permission bits before the umask.
        mode: u32,
        /// Applied unless the parent has a default ACL, which then decides.
        umask: u32,
        owner: Credentials,
        /// Fail with `Exists` where the name exists. Otherwise an existing regular file is answered with `created: false`.
        exclusive: bool,
        /// The session holds the file open from here on, as by [`MetaService::open`].
        open: bool,
    },
    /// `link`. Answers `Entry`.
    Link { inode: InodeId, parent: InodeId, name: Name },
    /// `unlink`. Answers [`MutationReply::Removed`].
    Unlink { parent: InodeId, name: Name },
    /// `rmdir`. Answers `Removed`.
    Rmdir { parent: InodeId, name: Name },
    /// `renameat2`. Answers [`MutationReply::Renamed`].
    Rename { parent: InodeId, name: Name, new_parent: InodeId, new_name: Name, mode: RenameMode },
    /// `chmod`, `chown`, `truncate`, `utimensat`. Answers [`MutationReply::Attr`].
    SetAttr { inode: InodeId, set: SetAttr },
    /// `setxattr`. POSIX ACLs (`system.posix_acl_access`, `_default`) are parsed and kept in step with the mode.
    /// `clear_sgid`: the caller is not in the file's group (`FUSE_SETXATTR_ACL_KILL_SGID`). Answers `Attr`.
    SetXattr { inode: InodeId, name: Name, value: Vec<u8>, mode: XattrMode, clear_sgid: bool },
    /// `removexattr`. Answers `Attr`.
    RemoveXattr { inode: InodeId, name: Name },
    /// Makes sure that `count` chunks from `first` exist, placing new ones. Answers [`MutationReply::Chunks`], existing ones included.
    AllocateChunks { inode: InodeId, first: ChunkIndex, count: u32 },
    /// A writer's bytes are acknowledged by all replicas: from now on they are part of the file. Answers `Attr`.
    CommitWrite {
        inode: InodeId,
        /// The file is at least this long.
        size: u64,
        mtime: Timestamp,
        /// At most [`MAX_CHUNKS_PER_CALL`].
        extents: Vec<ChunkExtent>,
        kill_suid_sgid: bool,
    },
    /// The bytes of a chunk from `trimmed_at` on are zeroed on all replicas. A lower cut made meanwhile stays. Answers `Done`.
    ClearTrim { inode: InodeId, index: ChunkIndex, handle: ChunkHandle, trimmed_at: u32 },
    /// Members of a chunk failed a write at `version`. The survivors that the metaserver can reach go on under the next version.
    /// Where nobody would survive the members stay as they are. Answers `Chunks` with the one location.
    ///
    /// Where no member has a copy, and the writer has all bytes that were ever committed (`held`), empty copies are made for it to write them
    /// again; and where it has not, [`FsError::ChunkLost`] says that they are gone.
    ReplaceFailed {
        inode: InodeId,
        index: ChunkIndex,
        handle: ChunkHandle,
        version: ChunkVersion,
        failed: Vec<ServerId>,
        /// The writer has all bytes of the chunk up to this one.
        held: u32,
    },
    /// Changes what new entries of a directory, or the chunks of a file, ask for. Answers [`MutationReply::Policy`].
    SetPolicy { inode: InodeId, change: PolicyChange },
    /// Somebody read the inode at `atime` (sent lazily, by the rules of `relatime`). Unlike [`Mutation::SetAttr`] it leaves `ctime`
    /// alone; an older time than the stored one changes nothing. Answers `Attr`.
    TouchAtime { inode: InodeId, atime: Timestamp },
    /// Asks for a directory of at most `max_entries` entries to be delegated to the session: until it is returned nobody else changes the
    /// directory or what it alone names, nor sees them without a recall ([`Event::Recall`]) first. Asking again for what one has is
    /// fine. A new directory that is made under [`Ahead`] is delegated from the start. Answers [`MutationReply::Delegated`].
    TakeDelegation { inode: InodeId, max_entries: u64 },
    /// Gives it back. Everything that was done under it has been sent before. Answers `Done`, also where there was none.
    ReturnDelegation { inode: InodeId },
}

/// A directory as a mutation of its entries has left it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ChangedDir {
    pub attr: Attr,
    /// Its [`Attr::changed_at`] before. Whoever knew the directory as it was then knows that nobody else came in between.
    pub before: LogIndex,
}

/// The answer to a [`Mutation`].
#[expect(
    clippy::large_enum_variant,
    reason = "a reply lives for a moment, and boxes would cost the common ones an allocation"
)]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum MutationReply {
    Done,
    Attr(Attr),
    /// The entry's inode; `parent` as it is now. `chunks`: of a new file that is opened, the first chunk, made ahead for its writer
    /// where there was a place for it.
    Entry {
        attr: Attr,
        parent: ChangedDir,
        created: bool,
        policy: Policy,
        chunks: Vec<ChunkLocation>,
        /// What the session has of the entry's inode. A new one is its own.
        lease: Lease,
    },
    /// The removed entry's inode as it is now (`nlink` may be 0: it lives while somebody holds it open).
    Removed {
        attr: Attr,
        parent: ChangedDir,
    },
    /// What moved, what the move replaced (gone) or exchanged, and both parents, as they are now.
    Renamed {
        moved: Attr,
        replaced: Option<Attr>,
        exchanged: Option<Attr>,
        old_parent: ChangedDir,
        new_parent: ChangedDir,
    },
    Chunks(Vec<ChunkLocation>),
    Policy(Policy),
    /// To [`Mutation::TakeDelegation`]. `None`: not now (others use the directory, or it is too large), which is no error.
    Delegated(Option<Delegation>),
}

/// A directory as it was delegated.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Delegation {
    pub attr: Attr,
    /// What new entries inherit.
    pub policy: Policy,
    /// Where it is, for `..`.
    pub parent: InodeId,
}

/// One mutation with its name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct NamedMutation {
    pub op: OpId,
    pub mutation: Mutation,
    /// Present where the client did it already, under a delegation, and now says so.
    pub ahead: Option<Ahead>,
}

/// What a client has decided by itself of a mutation under a delegation.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Ahead {
    /// Its place among all that this session did ahead, from 1. Applying it demands that its predecessor was applied before (whatever came
    /// of that), and answers `NotReady` otherwise: so nothing is done on top of something that could not be done yet. A
    /// per-session counter in the namespace says how far it is; it is raised also by what is refused for good.
    pub position: u64,
    /// The time that the mutation stores.
    pub at: Timestamp,
    /// Of a [`Mutation::Create`]: the number of the new inode, out of those reserved by [`MetaService::reserve_inodes`].
    pub inode: Option<InodeId>,
}

/// Inode numbers that nobody else gives out.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct InodeRange {
    pub first: InodeId,
    pub count: u32,
}

/// What a session is asked to do.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Event {
    /// Send what was done under the delegation of this directory, and return it. Also where the session knows of none: its return
    /// says so.
    Recall { inode: InodeId },
    /// Send everything that was done under any delegation; keep them.
    Flush,
    /// The leases on these inodes end: forget what is remembered of them, their contents and, of directories, their entries included, after
    /// what was written to them is sent and committed.
    Drop { inodes: Vec<InodeId> },
    /// Others want to see this file: send and commit what was written to it. From then on the lease is a shared one.
    Downgrade { inode: InodeId },
}

/// An answer, and whether the session may remember it: if so, it has a shared lease on the inode from here on, and is told before
/// somebody else changes it ([`Event::Drop`]).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Granted<T> {
    pub value: T,
    pub leased: bool,
}

/// What a name leads to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Found {
    /// Nothing, if the name does not exist.
    pub entry: Option<Granted<Attr>>,
    /// The session has a lease on the directory, and may remember what the name leads to.
    pub dir_leased: bool,
}

/// Events of a session, in order.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Events {
    /// The number of the last one, to be sent with the next call: these have been received.
    pub seen: u64,
    /// With their numbers, ascending.
    pub events: Vec<(u64, Event)>,
}

/// What a client says of itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ClientInfo {
    pub host: String,
    pub mountpoint: String,
    pub pid: u32,
    pub version: String,
}

/// A session, new or taken up again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct SessionGrant {
    pub session: SessionId,
    pub cluster: ClusterId,
    /// Milliseconds without a sign of life after which the metaserver gives the session up.
    pub term_ms: u64,
    /// Another one after each start of the metaserver, which then knows of no leases.
    pub incarnation: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct OpenMode {
    pub read: bool,
    pub write: bool,
}

/// An opened file: what the first read or write will ask for comes along.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Opened {
    pub attr: Attr,
    pub policy: Policy,
    /// The file's first chunks, to its end or as many as one call names.
    pub chunks: Vec<ChunkLocation>,
    /// What the session may remember of the file, and do with it, without asking.
    pub lease: Lease,
    /// Others have it open, too, and somebody may write: the kernel is to keep no pages for this open.
    pub contended: bool,
}

/// What a session may remember of an inode, and do with it, without asking.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub enum Lease {
    None,
    /// Attributes, names, extended attributes, and contents as they are.
    Shared,
    /// Of a file, and nobody else has one: writes may wait in the buffer, and size and times are what this session says.
    Exclusive,
}

/// Which page of a directory to read.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ReadDir {
    pub inode: InodeId,
    /// Entries after this one. An entry that exists during the whole listing is listed exactly once, whatever happens beside it.
    pub after: DirCookie,
    /// At most [`MAX_DIR_PAGE`].
    pub limit: u32,
    /// Send the attributes of each entry.
    pub plus: bool,
}

/// One entry of a directory (`.` and `..` are the client's).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct DirEntry {
    pub name: Name,
    pub inode: InodeId,
    pub kind: FileKind,
    pub cookie: DirCookie,
    /// Present where asked for, save for what another session knows better.
    pub attr: Option<Attr>,
    /// The session may remember `attr`.
    pub leased: bool,
}

/// A page of a directory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct DirPage {
    pub entries: Vec<DirEntry>,
    /// Nothing follows.
    pub end: bool,
    /// The directory's parent, for `..`.
    pub parent: InodeId,
    /// The session may remember the entries.
    pub leased: bool,
    /// What is removed from the directory is kept in the trash: bytes that were written to it are to be sent all the same.
    pub keeps: bool,
}

/// Space and counts of the file system, in bytes as users can fill them (copies accounted for by the default policy).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct FsStat {
    pub total: u64,
    pub free: u64,
    pub inodes: u64,
}

/// The metaserver's face to clients. Reads are answered from applied state: what was acknowledged is seen.
#[tarpc::service]
pub trait MetaService {
    /// Opens a session, or takes `resume` up again (after a lost connection or a restart of the metaserver): then `open` are the
    /// inodes that this client holds open.
    async fn open_session(
        client: ClientInfo,
        resume: Option<SessionId>,
        open: Vec<InodeId>,
    ) -> Result<SessionGrant, FsError>;
    /// A sign of life.
    async fn keep_alive(session: SessionId) -> Result<(), FsError>;
    /// Ends a session in good order.
    async fn close_session(session: SessionId) -> Result<(), FsError>;

    /// Does `ops` in order, each on its own: one that is refused does not stop the next. The results of ops below `acked`
    /// will never be asked for again. At most [`MAX_BATCH_OPS`].
    async fn mutate(ops: Vec<NamedMutation>, acked: u64) -> Result<Vec<Result<MutationReply, FsError>>, FsError>;

    /// Numbers for inodes that this session will create under delegations. At most [`MAX_RESERVED_INODES`].
    async fn reserve_inodes(session: SessionId, count: u32) -> Result<InodeRange, FsError>;
    /// Waits for events, and returns with none after a while. `seen`: as of the last answer; 0 at first, and after the connection was
    /// new. What was answered under it is not sent again. One call of a session at a time.
    async fn events(session: SessionId, seen: u64) -> Result<Events, FsError>;
    /// These events have been acted upon.
    async fn acted(session: SessionId, events: Vec<u64>) -> Result<(), FsError>;

    async fn lookup(session: SessionId, parent: InodeId, name: Name) -> Result<Found, FsError>;
    async fn get_attr(session: SessionId, inode: InodeId) -> Result<Granted<Attr>, FsError>;
    /// An exclusive lease on a file, once everybody else has given theirs back. The attributes are as they are then.
    async fn acquire(session: SessionId, inode: InodeId) -> Result<Attr, FsError>;
    /// The leases on open files that a session has kept over a restart of the metaserver, the exclusive ones all among them. At most
    /// [`MAX_LEASES_PER_CALL`] in a call, the `last` of which says so. Nobody looks at files before all who were there have said this, or are
    /// gone: so it is to be said at once. Another `incarnation` than this one takes no notice: it has asked by itself.
    async fn reclaim_leases(
        session: SessionId,
        incarnation: u64,
        kept: Vec<(InodeId, Lease)>,
        last: bool,
    ) -> Result<(), FsError>;
    /// A session has no leases from before a restart any more but those it reclaimed. Nobody changes anything before all who were there have
    /// said this, or are gone. It may take as long as reads and writes that are under way.
    async fn dropped_the_rest(session: SessionId, incarnation: u64) -> Result<(), FsError>;
    /// The session does not remember these any more, and would be glad of being asked to drop them. At most [`MAX_LEASES_PER_CALL`].
    async fn return_leases(session: SessionId, inodes: Vec<InodeId>) -> Result<(), FsError>;
    async fn read_link(session: SessionId, inode: InodeId) -> Result<Vec<u8>, FsError>;
    async fn read_dir(session: SessionId, request: ReadDir) -> Result<DirPage, FsError>;
    /// `NoXattr` where there is none.
    async fn get_xattr(session: SessionId, inode: InodeId, name: Name) -> Result<Vec<u8>, FsError>;
    async fn list_xattr(session: SessionId, inode: InodeId) -> Result<Vec<Name>, FsError>;

    /// The session holds `inode` open until it releases it as often as it opened it: unlinked, it lives on.
    async fn open(session: SessionId, inode: InodeId, mode: OpenMode) -> Result<Opened, FsError>;
    async fn release(session: SessionId, inodes: Vec<InodeId>) -> Result<(), FsError>;

    /// The existing chunks among `count` from `first`, the first [`MAX_CHUNKS_PER_CALL`] of them; a chunk that is missing before the
    /// last one answered is a hole. So a large `count` finds the next chunk behind a hole of any size.
    async fn locate(
        session: SessionId,
        inode: InodeId,
        first: ChunkIndex,
        count: u32,
    ) -> Result<Vec<ChunkLocation>, FsError>;
    /// The first chunk of each of these files, in their order; `None` where it has none, or where that cannot be said at once. At most
    /// [`MAX_LOCATE_FIRST`].
    async fn locate_first(session: SessionId, inodes: Vec<InodeId>) -> Result<Vec<Option<ChunkLocation>>, FsError>;
    /// A reader met a damaged, missing or unreachable copy.
    async fn report_bad_replica(handle: ChunkHandle, server: ServerId, what: BadReplica) -> Result<(), FsError>;

    async fn stat_fs() -> Result<FsStat, FsError>;

    /// Sets a lock: done twice, it is as if done once. Where another session or owner has one in the way, the answer is that, or, if
    /// the caller wants to `wait`, comes after a while.
    async fn set_lock(session: SessionId, lock: Lock, wait: bool) -> Result<LockOutcome, FsError>;
    /// The first of the locks that would be in the way of `lock`.
    async fn test_lock(session: SessionId, lock: Lock) -> Result<Option<Lock>, FsError>;
    /// Unlocks a range.
    async fn unset_lock(session: SessionId, of: LocksOf, range: LockRange) -> Result<(), FsError>;
    /// What a session holds that was just taken up again; at most [`crate::lock::MAX_RECLAIMED`] in a call, the `last` of which says so.
    /// After a restart nobody gets a lock before all who were there have said what they hold, or are gone.
    async fn reclaim_locks(session: SessionId, locks: Vec<Lock>, last: bool) -> Result<(), FsError>;

    /// Where these chunkservers stand, at most [`MAX_PLACES_PER_CALL`] of them, for readers that look for the nearest copy. Locations name
    /// servers again and again and do not say it: it changes only when a server is started with other labels. One that is not known is
    /// left out.
    async fn places(servers: Vec<ServerId>) -> Result<Vec<ServerPlace>, FsError>;

    /// What was removed and is kept, in the order of removal, behind `after`.
    async fn trash(session: SessionId, after: Option<TrashCursor>) -> Result<TrashPage, FsError>;
    /// One inode in the trash; `NotFound` where it is not there.
    async fn trashed(session: SessionId, inode: InodeId) -> Result<TrashEntry, FsError>;
    /// It leaves the trash for good, if it is in it.
    async fn drop_trash(session: SessionId, inode: InodeId) -> Result<(), FsError>;
}

/// Where a chunkserver stands.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ServerPlace {
    pub server: ServerId,
    /// Those of its labels that name failure domains.
    pub labels: Labels,
}

/// What a reader found wrong with a copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub enum BadReplica {
    Unreachable,
    Missing,
    Damaged,
    Stale,
}
