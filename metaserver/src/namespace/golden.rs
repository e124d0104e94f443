//! The bytes of every stored key and value. A change here is a change of the format: it needs a new format number, a decoder
//! for the old one, and a word in `docs/formats/metadata.md`.

use bytes::Bytes;
use cairn_proto::admin::{ServerMode, Tunables};
use cairn_proto::attr::FileKind;
use cairn_proto::chunk::ChunkId;
use cairn_proto::error::FsError;
use cairn_proto::ids::{
    ChunkHandle, ChunkIndex, ChunkVersion, ClusterId, DirCookie, InodeId, LogIndex, ServerId, SessionId,
};
use cairn_proto::labels::Domain;
use cairn_proto::meta::{ChangedDir, ClientInfo, Delegation};
use cairn_proto::name::Name;
use cairn_proto::policy::{Durability, Placement, PlacementId, Policy, Retention};
use cairn_proto::time::Timestamp;
use cairn_proto::transport::Endpoint;
use uuid::Uuid;

use super::chunk::Chunk;
use super::cluster::Cluster;
use super::counters::Counters;
use super::delegation::Holder;
use super::dentry::{Dentry, Listed};
use super::garbage::Garbage;
use super::inode::{Content, Directory, File, Inode, Times};
use super::keys;
use super::ledger::Recorded;
use super::link::{FurtherLink, Link};
use super::orphan::Orphan;
use super::reply::{ChunkView, Reply};
use super::server::Server;
use super::session::Session;
use super::slot::Slot;
use super::trash::{Indexed, Trashed};
use super::value::Stored;
use super::xattr::Xattr;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn check_key(key: Bytes, golden: &str) {
    assert_eq!(hex(&key), golden);
}

fn check_value<T: Stored + PartialEq + std::fmt::Debug>(value: T, golden: &str) {
    let bytes = value.to_stored();
    assert_eq!(hex(&bytes), golden, "{}", T::NOUN);
    assert_eq!(T::from_stored(b"key", &bytes).unwrap(), value);
    let longer = [&bytes[..], &[0]].concat();
    T::from_stored(b"key", &longer).expect_err("bytes left over are damage");
    let other = [&[bytes[0] + 1], &bytes[1..]].concat();
    T::from_stored(b"key", &other).expect_err("another format is not read as this one");
    T::from_stored(b"key", &[]).expect_err("no bytes are damage");
}

const INODE: InodeId = InodeId(0x0102_0304_0506_0708);
const HANDLE: ChunkHandle = ChunkHandle(0x1112_1314_1516_1718);
const SESSION: SessionId = SessionId(0x2122_2324_2526_2728);
const LINK: Link = Link { parent: InodeId(300), cookie: DirCookie(7) };
const TIME: Timestamp = Timestamp { secs: -2, nanos: 999_999_999 };

fn name() -> Name {
    Name::new(b"\xffx".to_vec()).unwrap()
}

fn server() -> ServerId {
    ServerId(Uuid::from_bytes([0xab; 16]))
}

fn inode(content: Content) -> Inode {
    Inode {
        id: InodeId(300),
        content,
        mode: 0o4755,
        nlink: 1,
        uid: 1000,
        gid: u32::MAX,
        times: Times { atime: TIME, mtime: Timestamp { secs: 1, nanos: 2 }, ctime: TIME, btime: TIME },
        changed_at: LogIndex(200),
        policy: Policy { copies: 2, durability: Durability::Close, placement: Default::default() },
        home: LINK,
        xattr_bytes: 9,
        retention: Retention(300),
    }
}

fn chunk() -> Chunk {
    Chunk {
        version: ChunkVersion(3),
        members: vec![server()],
        inode: InodeId(300),
        index: ChunkIndex(4),
        target: 2,
        placement: Default::default(),
        length: 1 << 26,
        allocated: 4096,
        refs: 1,
    }
}

#[test]
fn keys_of_tables() {
    check_key(keys::cluster(), "01");
    check_key(keys::counters(), "02");
    check_key(keys::tunables(), "03");
    check_key(keys::placement(PlacementId(0x0a0b_0c0d)), "410a0b0c0d");
    check_key(keys::inode(INODE), "100102030405060708");
    check_key(keys::dentry(INODE, &name()), "110102030405060708ff78");
    check_key(keys::listed(LINK), "12000000000000012c0000000000000007");
    check_key(keys::further_link(INODE, LINK), "130102030405060708000000000000012c0000000000000007");
    check_key(keys::xattr(INODE, b"user.a"), "140102030405060708757365722e61");
    check_key(keys::orphan(INODE), "150102030405060708");
    check_key(keys::delegation(INODE), "160102030405060708");
    check_key(keys::trash(INODE), "170102030405060708");
    check_key(
        keys::trash_by_place(INODE, &name(), TIME, InodeId(300)),
        "180102030405060708ff78008000000000000001c4653600fffffffffffffed3",
    );
    check_key(
        keys::trash_by_time(Retention(300), TIME, InodeId(300)),
        "190000012c7ffffffffffffffe3b9ac9ff000000000000012c",
    );
    check_key(keys::slot(INODE, ChunkIndex(0x0a0b_0c0d)), "2001020304050607080a0b0c0d");
    check_key(keys::chunk(HANDLE), "211112131415161718");
    check_key(keys::garbage(HANDLE), "221112131415161718");
    check_key(keys::session(SESSION), "302122232425262728");
    check_key(keys::ledger(SESSION, 5), "3121222324252627280000000000000005");
    check_key(keys::server(server()), "40abababababababababababababababab");
}

#[test]
fn keys_come_apart_again() {
    assert_eq!(keys::parse_dentry(&keys::dentry(INODE, &name())).unwrap(), (INODE, name()));
    assert_eq!(keys::parse_listed(&keys::listed(LINK)).unwrap(), LINK);
    assert_eq!(keys::parse_further_link(&keys::further_link(INODE, LINK)).unwrap(), (INODE, LINK));
    assert_eq!(keys::parse_xattr(&keys::xattr(INODE, b"user.a")).unwrap(), (INODE, Name::new(*b"user.a").unwrap()));
    assert_eq!(keys::parse_delegation(&keys::delegation(INODE)).unwrap(), INODE);
    let by_place = keys::trash_by_place(INODE, &name(), TIME, InodeId(300));
    assert_eq!(keys::parse_trash_by_place(&by_place).unwrap(), (name(), InodeId(300)));
    keys::parse_trash_by_place(&by_place[..20]).expect_err("a key that is cut short");
    let by_time = keys::trash_by_time(Retention(300), TIME, InodeId(300));
    assert_eq!(keys::parse_trash_by_time(&by_time).unwrap(), (Retention(300), TIME, InodeId(300)));
    assert_eq!(keys::parse_slot(&keys::slot(INODE, ChunkIndex(9))).unwrap(), (INODE, ChunkIndex(9)));
    assert_eq!(keys::parse_server(&keys::server(server())).unwrap(), server());
    keys::parse_slot(&keys::inode(INODE)).expect_err("a key of another table");
    keys::parse_slot(&keys::slot(INODE, ChunkIndex(9))[..9]).expect_err("a key that is cut short");
}

#[test]
fn ranges_hold_their_own() {
    let range = keys::slots_within(INODE, ChunkIndex(2), 3);
    for (index, within) in [(1, false), (2, true), (4, true), (5, false)] {
        let key = keys::slot(INODE, ChunkIndex(index));
        assert_eq!(range.start <= key && key < range.end, within, "{index}");
    }
    let range = keys::slots_within(INODE, ChunkIndex(u32::MAX), 3);
    assert!(range.start <= keys::slot(INODE, ChunkIndex(u32::MAX)));
    assert!(range.end > keys::slot(INODE, ChunkIndex(u32::MAX)));
    assert!(range.end <= keys::slot(InodeId(INODE.0 + 1), ChunkIndex(0)));
    let removed = |secs| keys::trash_by_place(INODE, &name(), Timestamp { secs, nanos: 0 }, INODE);
    assert!(removed(1) < removed(0) && removed(0) < removed(-1), "what was removed last comes first");
    let range = keys::trash_at(INODE, &name());
    assert!(range.start <= removed(1) && removed(-1) < range.end);
    let longer = Name::new(b"\xffx\x01".to_vec()).unwrap();
    assert!(range.end <= keys::trash_by_place(INODE, &longer, TIME, INODE), "another name");
    let range = keys::orphans_after(INODE);
    assert!(range.start > keys::orphan(INODE));
    assert!(range.start <= keys::orphan(InodeId(INODE.0 + 1)));
}

#[test]
fn cluster_and_counters() {
    check_value(
        Cluster { id: ClusterId(Uuid::from_bytes([0xcd; 16])), created: TIME },
        "0110cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd03ff93ebdc03",
    );
    let counters = Counters {
        next_inode: InodeId(300),
        next_handle: ChunkHandle(2),
        next_session: SessionId(3),
        inodes: 4,
        orphans: 5,
        chunks: 6,
        garbage: 7,
        trash: 8,
        trash_bytes: 9,
    };
    check_value(counters, "02ac020203040506070809");
}

#[test]
fn inodes() {
    check_value(
        inode(Content::File(File { size: 1 << 56, allocated: 4096 })),
        "03ac02008080808080808080018020ed1301e807ffffffff0f03ff93ebdc03020203ff93ebdc0303ff93ebdc03c801020100ac020709ac02",
    );
    check_value(
        inode(Content::Directory(Directory { next_cookie: DirCookie(300), entries: 2 })),
        "03ac0201ac0202ed1301e807ffffffff0f03ff93ebdc03020203ff93ebdc0303ff93ebdc03c801020100ac020709ac02",
    );
    check_value(
        inode(Content::Symlink { target: b"to".to_vec() }),
        "03ac020202746fed1301e807ffffffff0f03ff93ebdc03020203ff93ebdc0303ff93ebdc03c801020100ac020709ac02",
    );
    check_value(
        inode(Content::Fifo),
        "03ac0203ed1301e807ffffffff0f03ff93ebdc03020203ff93ebdc0303ff93ebdc03c801020100ac020709ac02",
    );
    check_value(
        inode(Content::Socket),
        "03ac0204ed1301e807ffffffff0f03ff93ebdc03020203ff93ebdc0303ff93ebdc03c801020100ac020709ac02",
    );
    check_value(
        inode(Content::CharDevice { rdev: 259 }),
        "03ac02058302ed1301e807ffffffff0f03ff93ebdc03020203ff93ebdc0303ff93ebdc03c801020100ac020709ac02",
    );
    check_value(
        inode(Content::BlockDevice { rdev: 259 }),
        "03ac02068302ed1301e807ffffffff0f03ff93ebdc03020203ff93ebdc0303ff93ebdc03c801020100ac020709ac02",
    );
}

/// What was written before there was a trash is read as what has none.
#[test]
fn values_from_before_the_trash() {
    let old = unhex("02ac0201ac0202ed1301e807ffffffff0f03ff93ebdc03020203ff93ebdc0303ff93ebdc03c801020100ac020709");
    let directory = inode(Content::Directory(Directory { next_cookie: DirCookie(300), entries: 2 }));
    let expected = Inode { retention: Retention::OFF, ..directory };
    assert_eq!(Inode::from_stored(b"key", &old).unwrap(), expected);
    Inode::from_stored(b"key", &[&old[..], &[0]].concat()).expect_err("bytes left over are damage");
    let old = unhex("01ac02020304050607");
    let counters = Counters::from_stored(b"key", &old).unwrap();
    assert_eq!((counters.garbage, counters.trash, counters.trash_bytes), (7, 0, 0));
}

#[test]
fn entries() {
    check_value(Dentry { inode: InodeId(300), kind: FileKind::Directory, cookie: DirCookie(7) }, "01ac020107");
    check_value(Listed { name: name(), inode: InodeId(300), kind: FileKind::Symlink }, "0102ff78ac0202");
    check_value(FurtherLink, "01");
    check_value(Orphan { since: TIME }, "0103ff93ebdc03");
    check_value(Holder(SessionId(300)), "01ac02");
    let trashed = Trashed {
        parent: InodeId(300),
        name: name(),
        kind: FileKind::Directory,
        deleted: TIME,
        retention: Retention(300),
        bytes: 5000,
        next_cookie: DirCookie(7),
    };
    check_value(trashed, "01ac0202ff780103ff93ebdc03ac02882707");
    check_value(Indexed, "01");
    check_value(Xattr(Bytes::from_static(b"value")), "010576616c7565");
}

#[test]
fn chunks() {
    check_value(Slot { handle: ChunkHandle(300), trimmed_at: Some(5000) }, "01ac02018827");
    check_value(chunk(), "02030110ababababababababababababababababac0204020080808020802001");
    check_value(
        Garbage { version: ChunkVersion(3), members: vec![server()] },
        "01030110abababababababababababababababab",
    );
}

#[test]
fn sessions_and_servers() {
    let client = ClientInfo { host: "h".into(), mountpoint: "/m".into(), pid: 300, version: "1".into() };
    check_value(Session { client, opened: TIME, floor: 129, ahead: 300 }, "010168022f6dac02013103ff93ebdc038101ac02");
    check_value(
        Server {
            name: "one".into(),
            endpoint: Endpoint::Tcp { host: "h".into(), port: 7000 },
            labels: "rack=r".parse().unwrap(),
            mode: ServerMode::Maintenance { until: TIME, announced: true },
        },
        "02036f6e6506683a3730303001047261636b01720203ff93ebdc0301",
    );
    let (labels, mode) = (Default::default(), ServerMode::Draining);
    check_value(
        Server { name: "two".into(), endpoint: Endpoint::Unix("/s".into()), labels, mode },
        "020374776f07756e69783a2f730001",
    );
    let placement = Placement { spread: Some(Domain::Rack), on: "a=b".parse().unwrap(), loose: true };
    check_value(placement, "010101010161016201");
    let tunables = Tunables { repair_paused: true, repair_bytes_per_s: Some(300), repair_server_bytes_per_s: None };
    check_value(tunables, "010101ac0200");
}

#[test]
fn ledger_entries() {
    let attr = inode(Content::Fifo).attr();
    let policy = Policy { copies: 2, durability: Durability::Fsync, placement: Default::default() };
    let view = ChunkView {
        id: ChunkId { handle: HANDLE, version: ChunkVersion(3), inode: InodeId(300), index: ChunkIndex(4) },
        length: 5,
        trimmed_at: None,
        members: vec![server()],
        target: 2,
        placement: PlacementId(300),
    };
    let dir = ChangedDir { attr: attr.clone(), before: LogIndex(199) };
    let entry = Reply::Entry { attr: attr.clone(), parent: dir.clone(), created: true, policy };
    let renamed = Reply::Renamed {
        moved: attr.clone(),
        replaced: None,
        exchanged: Some(attr.clone()),
        old_parent: dir.clone(),
        new_parent: dir,
    };
    check_value(Recorded(Ok(Reply::Done)), "020000");
    check_value(
        Recorded(Ok(Reply::Attr(attr.clone()))),
        "020001ac0203ed1301e807ffffffff0f00000003ff93ebdc03020203ff93ebdc0303ff93ebdc0301c801",
    );
    check_value(
        Recorded(Ok(entry)),
        "020002ac0203ed1301e807ffffffff0f00000003ff93ebdc03020203ff93ebdc0303ff93ebdc0301c801ac0203ed1301e807ffffffff0f00000003ff93ebdc03020203ff93ebdc0303ff93ebdc0301c801c70101020000",
    );
    check_value(
        Recorded(Ok(Reply::Removed { attr: attr.clone(), parent: ChangedDir { attr, before: LogIndex(199) } })),
        "020003ac0203ed1301e807ffffffff0f00000003ff93ebdc03020203ff93ebdc0303ff93ebdc0301c801ac0203ed1301e807ffffffff0f00000003ff93ebdc03020203ff93ebdc0303ff93ebdc0301c801c701",
    );
    check_value(
        Recorded(Ok(renamed)),
        "020004ac0203ed1301e807ffffffff0f00000003ff93ebdc03020203ff93ebdc0303ff93ebdc0301c8010001ac0203ed1301e807ffffffff0f00000003ff93ebdc03020203ff93ebdc0303ff93ebdc0301c801ac0203ed1301e807ffffffff0f00000003ff93ebdc03020203ff93ebdc0303ff93ebdc0301c801c701ac0203ed1301e807ffffffff0f00000003ff93ebdc03020203ff93ebdc0303ff93ebdc0301c801c701",
    );
    check_value(
        Recorded(Ok(Reply::Chunks(vec![view.clone()]))),
        "0200050198aed8a8c1e284891103ac020405000110abababababababababababababababab02ac02",
    );
    check_value(Recorded(Ok(Reply::Policy(policy))), "020006020000");
    check_value(Recorded(Ok(Reply::Reaped { gone: vec![InodeId(300)], more: true })), "02000701ac0201");
    check_value(
        Recorded(Ok(Reply::Members(view.clone()))),
        "02000898aed8a8c1e284891103ac020405000110abababababababababababababababab02ac02",
    );
    check_value(
        Recorded(Ok(Reply::MembersConflict(view))),
        "02000998aed8a8c1e284891103ac020405000110abababababababababababababababab02ac02",
    );
    check_value(Recorded(Ok(Reply::Delegated(None))), "02000a00");
    check_value(
        Recorded(Ok(Reply::Delegated(Some(Delegation {
            attr: inode(Content::Fifo).attr(),
            policy,
            parent: LINK.parent,
        })))),
        "02000a01ac0203ed1301e807ffffffff0f00000003ff93ebdc03020203ff93ebdc0303ff93ebdc0301c801020000ac02",
    );
}

#[test]
fn refusals() {
    let all = [
        FsError::NotFound,
        FsError::Exists,
        FsError::NotDirectory,
        FsError::IsDirectory,
        FsError::NotEmpty,
        FsError::NameTooLong,
        FsError::InvalidArgument,
        FsError::NotPermitted,
        FsError::AccessDenied,
        FsError::TooManyLinks,
        FsError::FileTooLarge,
        FsError::NoSpace,
        FsError::NoXattr,
        FsError::XattrExists,
        FsError::XattrTooLarge,
        FsError::Unsupported,
        FsError::Stale(InodeId(300)),
    ];
    let bytes: Vec<_> = all.iter().map(|error| hex(&Recorded(Err(error.clone())).to_stored())).collect();
    let expected: Vec<_> =
        (0..all.len()).map(|n| format!("0201{n:02x}{}", if n == 16 { "ac02" } else { "" })).collect();
    assert_eq!(bytes, expected);
}
