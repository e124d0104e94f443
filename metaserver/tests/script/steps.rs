//! What a step may be, and how likely.

use cairn_proto::attr::{SetAttr, SetTime};
use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::meta::{NewNode, RenameMode, XattrMode};
use cairn_proto::name::Name;
use cairn_proto::policy::Durability;
use cairn_proto::time::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

use super::Pick;

/// A step, and which of the sessions takes it.
#[derive(Clone, Debug)]
pub struct Turn {
    pub session: u8,
    pub ahead: Option<Place>,
    pub step: Step,
}

/// Which place an operation that was done ahead claims to have.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Next,
    /// One before it is missing.
    Early,
    Again,
}

#[derive(Clone, Debug)]
pub enum Step {
    Create {
        parent: Pick,
        name: u8,
        node: NewNode,
        mode: u16,
        umask: u16,
        owner: u8,
        exclusive: bool,
    },
    Link {
        inode: Pick,
        parent: Pick,
        name: u8,
    },
    Unlink {
        parent: Pick,
        name: u8,
    },
    Rmdir {
        parent: Pick,
        name: u8,
    },
    Rename {
        from: (Pick, u8),
        to: (Pick, u8),
        mode: RenameMode,
    },
    SetAttr {
        inode: Pick,
        set: SetAttr,
    },
    Truncate {
        inode: Pick,
        set: SetAttr,
    },
    TouchAtime {
        inode: Pick,
        atime: Timestamp,
    },
    SetXattr {
        inode: Pick,
        name: Name,
        value: Vec<u8>,
        mode: XattrMode,
        clear_sgid: bool,
    },
    RemoveXattr {
        inode: Pick,
        name: Name,
    },
    SetPolicy {
        inode: Pick,
        copies: Option<u8>,
        durability: Option<Durability>,
    },
    Allocate {
        inode: Pick,
        first: u8,
        count: u8,
        set: u8,
        undecided: bool,
    },
    Commit {
        inode: Pick,
        size: u64,
        mtime: Timestamp,
        extents: Vec<(Pick, u32, u32)>,
        kill: bool,
    },
    ClearTrim {
        chunk: Pick,
        from: u32,
    },
    /// `held`: nobody has a copy, and the writer has so much.
    ReplaceFailed {
        chunk: Pick,
        version: u8,
        failed: u8,
        survivors: u8,
        held: Option<u32>,
    },
    SetMembers {
        chunk: Pick,
        expect: u8,
        set: u8,
    },
    Reap {
        inode: Pick,
    },
    ReapAll,
    DropGarbage {
        chunk: Pick,
    },
    Take {
        directory: Pick,
        max_entries: u64,
    },
    Return {
        directory: Pick,
    },
    ComeOrGo {
        session: u8,
    },
    SetRetention {
        directory: Pick,
        seconds: u32,
    },
    /// `to`: elsewhere.
    Restore {
        removed: Pick,
        to: Option<(Pick, u8)>,
    },
    DropTrash {
        removed: Pick,
        expired: bool,
    },
}

/// Sequences of at most `most` steps.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<Turn>> {
    prop::collection::vec(turn(), 1..most)
}

/// Mostly the same session's, so that most of what it has is not in the way.
fn turn() -> impl Strategy<Value = Turn> {
    let place = prop_oneof![8 => Just(Place::Next), 1 => Just(Place::Early), 1 => Just(Place::Again)];
    let ahead = prop::option::weighted(0.4, place);
    let session = prop_oneof![4 => Just(0u8), 1 => any::<u8>()];
    (session, ahead, step()).prop_map(|(session, ahead, step)| Turn { session, ahead, step })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => names(),
        3 => attributes(),
        3 => xattrs(),
        4 => chunks(),
        3 => delegations(),
        2 => trash(),
    ]
}

fn trash() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (pick(), select(vec![0, 10, 50]))
            .prop_map(|(directory, seconds)| Step::SetRetention { directory, seconds }),
        4 => (pick(), prop::option::weighted(0.4, (pick(), any::<u8>())))
            .prop_map(|(removed, to)| Step::Restore { removed, to }),
        2 => (pick(), any::<bool>()).prop_map(|(removed, expired)| Step::DropTrash { removed, expired }),
    ]
}

fn delegations() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (pick(), 0..6u64).prop_map(|(directory, max_entries)| Step::Take { directory, max_entries }),
        5 => pick().prop_map(|directory| Step::Return { directory }),
        1 => any::<u8>().prop_map(|session| Step::ComeOrGo { session }),
    ]
}

fn names() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (pick(), any::<u8>(), node(), mode(), select(vec![0, 0o022, 0o077, 0o777]), 0..3u8, any::<bool>())
            .prop_map(|(parent, name, node, mode, umask, owner, exclusive)| {
                Step::Create { parent, name, node, mode, umask, owner, exclusive }
            }),
        2 => (pick(), pick(), any::<u8>()).prop_map(|(inode, parent, name)| Step::Link { inode, parent, name }),
        2 => (pick(), any::<u8>()).prop_map(|(parent, name)| Step::Unlink { parent, name }),
        1 => (pick(), any::<u8>()).prop_map(|(parent, name)| Step::Rmdir { parent, name }),
        5 => ((pick(), any::<u8>()), (pick(), any::<u8>()), rename_mode())
            .prop_map(|(from, to, mode)| Step::Rename { from, to, mode }),
        1 => pick().prop_map(|inode| Step::Reap { inode }),
        1 => Just(Step::ReapAll),
    ]
}

fn attributes() -> impl Strategy<Value = Step> {
    let durability = select(vec![None, Some(Durability::Close), Some(Durability::Write)]);
    prop_oneof![
        3 => (pick(), set_attr(Just(None))).prop_map(|(inode, set)| Step::SetAttr { inode, set }),
        1 => (pick(), set_attr(size().prop_map(Some))).prop_map(|(inode, set)| Step::SetAttr { inode, set }),
        1 => (pick(), time()).prop_map(|(inode, atime)| Step::TouchAtime { inode, atime }),
        1 => (pick(), prop::option::of(0..11u8), durability)
            .prop_map(|(inode, copies, durability)| Step::SetPolicy { inode, copies, durability }),
    ]
}

fn xattrs() -> impl Strategy<Value = Step> {
    let mode = select(vec![XattrMode::Any, XattrMode::Create, XattrMode::Replace]);
    prop_oneof![
        2 => (pick(), xattr_name(), prop::collection::vec(any::<u8>(), 0..4), mode, any::<bool>()).prop_map(
            |(inode, name, value, mode, clear_sgid)| Step::SetXattr { inode, name, value, mode, clear_sgid }
        ),
        3 => (pick(), acl_name(), acl(), any::<bool>()).prop_map(|(inode, name, value, clear_sgid)| {
            Step::SetXattr { inode, name, value, mode: XattrMode::Any, clear_sgid }
        }),
        1 => (pick(), prop_oneof![xattr_name(), acl_name()])
            .prop_map(|(inode, name)| Step::RemoveXattr { inode, name }),
    ]
}

fn chunks() -> impl Strategy<Value = Step> {
    let extent = (pick(), 0..=CHUNK_SIZE as u32, 0..=CHUNK_SIZE as u32);
    prop_oneof![
        4 => (pick(), 0..4u8, 0..4u8, any::<u8>(), prop::bool::weighted(0.1)).prop_map(
            |(inode, first, count, set, undecided)| Step::Allocate { inode, first, count, set, undecided }
        ),
        4 => (pick(), size(), time(), prop::collection::vec(extent, 0..4), any::<bool>())
            .prop_map(|(inode, size, mtime, extents, kill)| Step::Commit { inode, size, mtime, extents, kill }),
        3 => (pick(), set_attr(size().prop_map(Some))).prop_map(|(inode, set)| Step::Truncate { inode, set }),
        2 => (pick(), select(vec![0, 100, 5000, 1 << 20])).prop_map(|(chunk, from)| Step::ClearTrim { chunk, from }),
        2 => (pick(), 1..4u8, any::<u8>(), any::<u8>(), prop::option::of(0..=CHUNK_SIZE as u32)).prop_map(
            |(chunk, version, failed, survivors, held)| Step::ReplaceFailed { chunk, version, failed, survivors, held }
        ),
        1 => (pick(), 1..4u8, any::<u8>()).prop_map(|(chunk, expect, set)| Step::SetMembers { chunk, expect, set }),
        1 => pick().prop_map(|chunk| Step::DropGarbage { chunk }),
    ]
}

fn pick() -> impl Strategy<Value = Pick> {
    any::<u8>().prop_map(Pick)
}

fn node() -> impl Strategy<Value = NewNode> {
    prop_oneof![
        5 => Just(NewNode::File),
        5 => Just(NewNode::Directory),
        1 => select(vec![vec![], b"a/b".to_vec(), vec![b'x'; 4095], vec![b'x'; 4096]])
            .prop_map(|target| NewNode::Symlink { target }),
        1 => select(vec![
            NewNode::Fifo,
            NewNode::Socket,
            NewNode::CharDevice { rdev: 259 },
            NewNode::BlockDevice { rdev: 1 },
        ]),
    ]
}

fn mode() -> impl Strategy<Value = u16> {
    prop_oneof![select(vec![0o644, 0o755, 0o6755, 0o2755, 0o2644, 0o1777]), 0..0o10000u16]
}

fn rename_mode() -> impl Strategy<Value = RenameMode> {
    prop_oneof![4 => Just(RenameMode::Replace), 1 => Just(RenameMode::NoReplace), 2 => Just(RenameMode::Exchange)]
}

fn time() -> impl Strategy<Value = Timestamp> {
    (-2..100i64, select(vec![0, 1, 999_999_999, 1_000_000_000])).prop_map(|(secs, nanos)| Timestamp { secs, nanos })
}

fn set_time() -> impl Strategy<Value = Option<SetTime>> {
    prop_oneof![2 => Just(None), 1 => Just(Some(SetTime::Now)), 1 => time().prop_map(|time| Some(SetTime::At(time)))]
}

/// Sizes about the edges of the first chunks, and far out.
fn size() -> impl Strategy<Value = u64> {
    let edge = (0..4u64, -5000..5000i64).prop_map(|(n, off)| (n * CHUNK_SIZE).saturating_add_signed(off));
    prop_oneof![6 => edge, 2 => 0..4 * CHUNK_SIZE, 1 => select(vec![0, CHUNK_SIZE, 1 << 56, (1 << 56) + 1])]
}

fn set_attr(size: impl Strategy<Value = Option<u64>>) -> impl Strategy<Value = SetAttr> {
    let id = || prop::option::weighted(0.2, 0..3u32);
    let mode = prop::option::weighted(0.3, mode().prop_map(u32::from));
    (mode, id(), id(), size, set_time(), set_time(), prop::bool::weighted(0.2)).prop_map(
        |(mode, uid, gid, size, atime, mtime, kill_suid_sgid)| SetAttr {
            mode,
            uid,
            gid,
            size,
            atime,
            mtime,
            kill_suid_sgid,
        },
    )
}

fn xattr_name() -> impl Strategy<Value = Name> {
    select(vec!["user.a", "user.b", "trusted.a", "security.capability", "other.a", "system.other"])
        .prop_map(|name| Name::new(name).expect("a valid name"))
}

fn acl_name() -> impl Strategy<Value = Name> {
    select(vec!["system.posix_acl_access", "system.posix_acl_default"])
        .prop_map(|name| Name::new(name).expect("a valid name"))
}

/// Mostly valid ones: base entries, with named ones and a mask or without.
fn acl() -> impl Strategy<Value = Vec<u8>> {
    let entry = |tag: u16, may: u16, id: u32| {
        let mut bytes = Vec::from(tag.to_le_bytes());
        bytes.extend(may.to_le_bytes());
        bytes.extend(id.to_le_bytes());
        bytes
    };
    let named = prop::collection::vec((0..8u16, 0..3u32), 0..3);
    let valid = (0..8u16, named.clone(), 0..8u16, named, prop::option::of(0..8u16), 0..8u16).prop_map(
        move |(owner, users, group, groups, mask, other)| {
            let mask = mask.or(if users.len() + groups.len() > 0 { Some(5) } else { None });
            let mut bytes = vec![2, 0, 0, 0];
            bytes.extend(entry(0x01, owner, 0));
            users.iter().for_each(|&(may, id)| bytes.extend(entry(0x02, may, id)));
            bytes.extend(entry(0x04, group, 0));
            groups.iter().for_each(|&(may, id)| bytes.extend(entry(0x08, may, id)));
            mask.iter().for_each(|&may| bytes.extend(entry(0x10, may, u32::MAX)));
            bytes.extend(entry(0x20, other, 7));
            bytes
        },
    );
    let spoilt = (valid.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![8 => valid, 2 => spoilt, 1 => select(vec![vec![], vec![2, 0, 0, 0], vec![2, 0, 0]])]
}
