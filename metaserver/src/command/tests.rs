//! The bytes of every command in the log. A change here is a change of the format: it needs a new [`COMMAND_FORMAT`] and a
//! decoder for the old one, for there are logs to be replayed.

use cairn_proto::attr::{Credentials, SetAttr, SetTime};
use cairn_proto::labels::Domain;
use cairn_proto::meta::{ChunkExtent, NewNode, RenameMode, XattrMode};
use cairn_proto::name::Name;
use cairn_proto::policy::{Durability, PlacementId, PolicyChange, Retention};
use uuid::Uuid;

use super::*;

const AT: Timestamp = Timestamp { secs: 1, nanos: 2 };

fn check(command: &Command, golden: &str) {
    let bytes = command.encode();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden, "{command:?}");
    assert_eq!(Command::decode(&bytes).as_ref(), Ok(command));
}

fn check_mutation(mutation: Mutation, decided: Decided, golden: &str) {
    let origin = Origin { op: OpId { session: SessionId(300), seq: 5 }, acked: 4 };
    check(&Command::mutation(origin, AT, mutation, decided), golden);
}

fn check_internal(internal: Internal, golden: &str) {
    check(&Command::internal(AT, internal), golden);
}

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

fn server() -> ServerId {
    ServerId(Uuid::from_bytes([0xab; 16]))
}

#[test]
fn making_and_removing_names() {
    let parent = InodeId(300);
    let create = |node| Mutation::Create {
        parent,
        name: name("n"),
        node,
        mode: 0o644,
        umask: 0o22,
        owner: Credentials { uid: 1000, gid: 100 },
        exclusive: true,
        open: false,
    };
    check_mutation(
        create(NewNode::File),
        Decided::Inode(InodeId(301)),
        "0201ac02050402020000ac02016e00a40312e80764010001ad02",
    );
    check_mutation(
        create(NewNode::Directory),
        Decided::Inode(InodeId(301)),
        "0201ac02050402020000ac02016e01a40312e80764010001ad02",
    );
    check_mutation(
        create(NewNode::Symlink { target: b"to".to_vec() }),
        Decided::Inode(InodeId(301)),
        "0201ac02050402020000ac02016e0202746fa40312e80764010001ad02",
    );
    check_mutation(
        create(NewNode::Fifo),
        Decided::Inode(InodeId(301)),
        "0201ac02050402020000ac02016e03a40312e80764010001ad02",
    );
    check_mutation(
        create(NewNode::Socket),
        Decided::Inode(InodeId(301)),
        "0201ac02050402020000ac02016e04a40312e80764010001ad02",
    );
    check_mutation(
        create(NewNode::CharDevice { rdev: 259 }),
        Decided::Inode(InodeId(301)),
        "0201ac02050402020000ac02016e058302a40312e80764010001ad02",
    );
    check_mutation(
        create(NewNode::BlockDevice { rdev: 259 }),
        Decided::Inode(InodeId(301)),
        "0201ac02050402020000ac02016e068302a40312e80764010001ad02",
    );
    check_mutation(
        create(NewNode::File),
        Decided::Ahead { position: 200, inode: Some(InodeId(301)) },
        "0201ac02050402020000ac02016e00a40312e80764010004c80101ad02",
    );
    check_mutation(
        Mutation::Unlink { parent, name: name("n") },
        Decided::Ahead { position: 1, inode: None },
        "0201ac02050402020002ac02016e040100",
    );
    check_mutation(
        Mutation::Link { inode: InodeId(2), parent, name: name("n") },
        Decided::Nothing,
        "0201ac0205040202000102ac02016e00",
    );
    check_mutation(Mutation::Unlink { parent, name: name("n") }, Decided::Nothing, "0201ac02050402020002ac02016e00");
    check_mutation(Mutation::Rmdir { parent, name: name("n") }, Decided::Nothing, "0201ac02050402020003ac02016e00");
    let rename = |mode| Mutation::Rename { parent, name: name("n"), new_parent: InodeId(2), new_name: name("m"), mode };
    check_mutation(rename(RenameMode::Replace), Decided::Nothing, "0201ac02050402020004ac02016e02016d0000");
    check_mutation(rename(RenameMode::NoReplace), Decided::Nothing, "0201ac02050402020004ac02016e02016d0100");
    check_mutation(rename(RenameMode::Exchange), Decided::Nothing, "0201ac02050402020004ac02016e02016d0200");
}

#[test]
fn changing_attributes() {
    let inode = InodeId(300);
    let set = SetAttr {
        mode: Some(0o4755),
        uid: Some(1000),
        gid: None,
        size: Some(1 << 56),
        atime: Some(SetTime::Now),
        mtime: Some(SetTime::At(Timestamp { secs: -1, nanos: 5 })),
        kill_suid_sgid: true,
    };
    let xattr = |mode| Mutation::SetXattr { inode, name: name("user.a"), value: vec![1, 2], mode, clear_sgid: true };
    let policy =
        PolicyChange { copies: Some(3), durability: Some(Durability::Write), placement: Some(PlacementId(300)) };
    check_mutation(
        Mutation::SetAttr { inode, set },
        Decided::Nothing,
        "0201ac02050402020005ac0201ed1301e80700018080808080808080010100010101050100",
    );
    check_mutation(xattr(XattrMode::Any), Decided::Nothing, "0201ac02050402020006ac0206757365722e61020102000100");
    check_mutation(xattr(XattrMode::Create), Decided::Nothing, "0201ac02050402020006ac0206757365722e61020102010100");
    check_mutation(xattr(XattrMode::Replace), Decided::Nothing, "0201ac02050402020006ac0206757365722e61020102020100");
    check_mutation(
        Mutation::RemoveXattr { inode, name: name("user.a") },
        Decided::Nothing,
        "0201ac02050402020007ac0206757365722e6100",
    );
    check_mutation(
        Mutation::SetPolicy { inode, change: policy },
        Decided::Nothing,
        "0201ac0205040202000cac020103010201ac0200",
    );
    check_mutation(Mutation::TouchAtime { inode, atime: AT }, Decided::Nothing, "0201ac0205040202000dac02020200");
}

#[test]
fn writing() {
    let (inode, index, handle) = (InodeId(300), ChunkIndex(2), ChunkHandle(400));
    let placement = Placement { index, handle, members: vec![server()] };
    let extent = ChunkExtent { index, handle, length: 5000, allocated: 8192 };
    let commit = Mutation::CommitWrite { inode, size: 5000, mtime: AT, extents: vec![extent], kill_suid_sgid: false };
    let failed = vec![server()];
    let replace = Mutation::ReplaceFailed { inode, index, handle, version: ChunkVersion(7), failed, held: 5000 };
    check_mutation(
        Mutation::AllocateChunks { inode, first: index, count: 1 },
        Decided::Chunks(vec![placement]),
        "0201ac02050402020008ac02020102010290030110abababababababababababababababab",
    );
    check_mutation(commit, Decided::Nothing, "0201ac02050402020009ac028827020201029003882780400000");
    check_mutation(
        Mutation::ClearTrim { inode, index, handle, trimmed_at: 5000 },
        Decided::Nothing,
        "0201ac0205040202000aac02029003882700",
    );
    check_mutation(
        replace.clone(),
        Decided::Survivors(vec![server()]),
        "0201ac0205040202000bac02029003070110abababababababababababababababab8827030110abababababababababababababababab",
    );
    check_mutation(
        replace,
        Decided::Anew(vec![server()]),
        "0201ac0205040202000bac02029003070110abababababababababababababababab8827050110abababababababababababababababab",
    );
}

#[test]
fn delegating() {
    let inode = InodeId(300);
    check_mutation(
        Mutation::TakeDelegation { inode, max_entries: 500 },
        Decided::Nothing,
        "0201ac0205040202000eac02f40300",
    );
    check_mutation(Mutation::ReturnDelegation { inode }, Decided::Nothing, "0201ac0205040202000fac0200");
}

#[test]
fn what_the_metaserver_does_itself() {
    let policy = Policy { copies: 2, durability: Durability::Close, placement: Default::default() };
    let cluster = ClusterId(Uuid::from_bytes([0xcd; 16]));
    let client = ClientInfo { host: "h".into(), mountpoint: "/m".into(), pid: 300, version: "1".into() };
    let endpoint = "h:7000".parse().unwrap();
    let labels = "rack=r".parse().unwrap();
    let remembered = Server { name: "one".into(), endpoint, labels, mode: ServerMode::Draining };
    let (handle, expect, next) = (ChunkHandle(400), ChunkVersion(1), ChunkVersion(2));
    check_internal(
        Internal::CreateCluster { cluster, mode: 0o755, uid: 1, gid: 2, policy },
        "02000202010010cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcded030102020100",
    );
    check_internal(Internal::OpenSession { session: SessionId(300), client }, "020002020101ac020168022f6dac020131");
    check_internal(Internal::CloseSession { session: SessionId(300) }, "020002020102ac02");
    check_internal(Internal::Reap { inodes: vec![InodeId(300)] }, "02000202010301ac02");
    check_internal(Internal::DropGarbage { handles: vec![handle] }, "020002020104019003");
    check_internal(
        Internal::RememberServer { server: server(), remembered },
        "02000202010510abababababababababababababababab036f6e6506683a3730303001047261636b017201",
    );
    check_internal(
        Internal::SetMembers { handle, expect, next, members: vec![server()] },
        "020002020106900301020110abababababababababababababababab",
    );
    let placement =
        cairn_proto::policy::Placement { spread: Some(Domain::Rack), on: "a=b".parse().unwrap(), loose: true };
    check_internal(Internal::DefinePlacement { placement }, "0200020201080101010161016201");
    let mode = ServerMode::Maintenance { until: AT, announced: true };
    check_internal(
        Internal::SetServerMode { server: server(), mode },
        "02000202010910abababababababababababababababab02020201",
    );
    check_internal(Internal::ForgetServer { server: server() }, "02000202010a10abababababababababababababababab");
    let tunables = Tunables { repair_paused: true, repair_bytes_per_s: Some(300), repair_server_bytes_per_s: None };
    check_internal(Internal::SetTunables { tunables }, "02000202010b0101ac0200");
    check_internal(Internal::SetRetention { inode: InodeId(300), retention: Retention(300) }, "02000202010cac02ac02");
    let (inode, parent) = (InodeId(300), InodeId(2));
    check_internal(Internal::Restore { inode, parent, name: name("n") }, "02000202010dac0202016e");
    check_internal(Internal::DropTrash { inodes: vec![inode], expired: true }, "02000202010e01ac0201");
    check_internal(Internal::ReserveInodes { upto: InodeId(300) }, "020002020107ac02");
}

#[test]
fn other_bytes_are_refused() {
    let bytes = Command::internal(AT, Internal::Reap { inodes: Vec::new() }).encode();
    assert_eq!(Command::decode(&[]), Err(CommandError::Empty));
    assert_eq!(Command::decode(&[9, 0]), Err(CommandError::UnknownFormat { found: 9 }));
    let malformed = Err(CommandError::Malformed { format: COMMAND_FORMAT });
    assert_eq!(Command::decode(&bytes[..bytes.len() - 1]), malformed);
    assert_eq!(Command::decode(&[&bytes[..], &[0]].concat()), malformed);
}
