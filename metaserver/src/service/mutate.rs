//! Changes: decided here, done by the log.
//!
//! What a client has done already, under a delegation, comes with the time and the number of the inode that it chose ([`Ahead`]);
//! otherwise they are chosen here. Nothing of that kind is refused for good here: it has to take its turn in the log, or those behind it
//! would never have theirs.

use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkIndex, InodeId, SessionId};
use cairn_proto::meta::{Ahead, Lease, Mutation, MutationReply, NamedMutation, NewNode};
use cairn_proto::time::Timestamp;

use super::Shared;
use super::announce::{announce, ours};
use crate::cluster::locate::locate;
use crate::cluster::replace::{FailedWrite, replace_failed};
use crate::command::{Body, Command, Decided, Origin, Placement};
use crate::namespace::query::{self, Viewer};
use crate::namespace::{NamespaceError, Outcome, Reply};
use crate::room::Level;
use crate::store::Read;

pub(super) type OpResult = Result<MutationReply, FsError>;

/// Who asks, and when what is asked for happened or happens.
#[derive(Clone, Copy)]
struct Asked {
    origin: Origin,
    at: Timestamp,
}

/// Whether deciding it looks at what earlier ones of its batch may change.
pub(super) fn depends_on_earlier(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::AllocateChunks { .. } | Mutation::ReplaceFailed { .. })
}

/// Does one of a batch. It is proposed when this is first polled, unless it depends on earlier ones.
pub(super) async fn one(shared: &Shared, op: &NamedMutation, acked: u64) -> OpResult {
    let NamedMutation { op, mutation, ahead } = op.clone();
    let origin = Origin { op, acked };
    if let Some(ahead) = ahead {
        return one_ahead(shared, origin, mutation, ahead).await;
    }
    shared.room.admit(&mutation)?;
    let session = op.session;
    let announced = announce(shared, session, &mutation).await?;
    let reply = decide(shared, Asked { origin, at: shared.state.wall() }, mutation).await?;
    announced.found_too(&reply).await?;
    Ok(reply)
}

/// Proposes a mutation with what has to be decided for it.
async fn decide(shared: &Shared, asked: Asked, mutation: Mutation) -> OpResult {
    match mutation {
        Mutation::ReplaceFailed { inode, index, handle, version, failed, held } => {
            let report = FailedWrite { inode, index, handle, version, failed, held };
            replace_failed(&shared.cluster, asked.origin, report).await?;
            Ok(MutationReply::Chunks(locate(&shared.cluster, inode, index, 1)?))
        }
        Mutation::AllocateChunks { inode, first, count } => {
            let decided = Decided::Chunks(place_missing(shared, inode, first, count)?);
            shared.propose(asked, mutation, decided).await?;
            // Not the reply itself: to a retry it would be the one of the first time.
            Ok(MutationReply::Chunks(locate(&shared.cluster, inode, first, count)?))
        }
        Mutation::Create { open: true, node: NewNode::File, .. } => {
            let new = shared.state.next_inode();
            let made = ours(shared, asked.origin.op.session, new, Lease::Exclusive);
            made.told(create_open(shared, asked, mutation, new, Decided::Inode(new)).await)
        }
        Mutation::Create { .. } => {
            let new = shared.state.next_inode();
            let made = ours(shared, asked.origin.op.session, new, Lease::Shared);
            made.told(shared.propose(asked, mutation, Decided::Inode(new)).await.and_then(to_wire))
        }
        Mutation::TakeDelegation { inode, .. } if shared.clients.recalls.is_resting(inode, shared.clients.now()) => {
            Ok(MutationReply::Delegated(None))
        }
        Mutation::TakeDelegation { inode, .. } => {
            let reply = to_wire(shared.propose(asked, mutation, Decided::Nothing).await?)?;
            if matches!(&reply, MutationReply::Delegated(Some(_))) {
                // What it covers needs no lease, and it is recalled in another way.
                shared.clients.leases.let_go(asked.origin.op.session, inode);
            }
            Ok(reply)
        }
        _ => to_wire(shared.propose(asked, mutation, Decided::Nothing).await?),
    }
}

impl Shared {
    async fn propose(&self, asked: Asked, mutation: Mutation, decided: Decided) -> Result<Reply, FsError> {
        let may_end = may_end_delegation(&mutation);
        let reply = self.state.propose(Command::mutation(asked.origin, asked.at, mutation, decided)).await?;
        if may_end {
            self.clients.recalls.ended();
        }
        Ok(reply)
    }
}

/// By being what it is, or by removing a directory.
fn may_end_delegation(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::ReturnDelegation { .. } | Mutation::Rmdir { .. } | Mutation::Rename { .. })
}

/// What a client has done already. It may use the reserve that is kept for getting out of a full disk: it is bounded, and programs
/// have been told that it is done.
async fn one_ahead(shared: &Shared, origin: Origin, mutation: Mutation, ahead: Ahead) -> OpResult {
    if shared.room.level() < Level::Low {
        return Err(FsError::NoSpace);
    }
    // Nobody can have done that alone.
    if depends_on_earlier(&mutation) {
        return Err(FsError::InvalidArgument);
    }
    let asked = Asked { origin, at: ahead.at };
    let decided = Decided::Ahead { position: ahead.position, inode: ahead.inode };
    match (&mutation, ahead.inode) {
        (Mutation::Create { open: true, node: NewNode::File, .. }, Some(new)) => {
            create_open(shared, asked, mutation, new, decided).await
        }
        _ => to_wire(shared.propose(asked, mutation, decided).await?),
    }
}

fn to_wire(reply: Reply) -> OpResult {
    // The two mutations that are answered by chunks do not come here.
    reply.into_wire(|_| unreachable!("no other mutation is answered by chunks")).ok_or_else(|| {
        tracing::error!("a mutation was answered as if it were an internal command");
        FsError::Storage
    })
}

/// Servers for each place of the range that has no chunk.
fn place_missing(shared: &Shared, inode: InodeId, first: ChunkIndex, count: u32) -> Result<Vec<Placement>, FsError> {
    let (existing, wanted) = shared
        .state
        .read(|read| Ok::<_, NamespaceError>((query::locate(read, inode, first, count)?, Wanted::of(read, inode)?)))?;
    let end = first.0.checked_add(count).ok_or(FsError::FileTooLarge)?;
    let is_missing = |index: &ChunkIndex| !existing.iter().any(|view| view.id.index == *index);
    let missing = (first.0..end).map(ChunkIndex).filter(is_missing);
    missing.map(|index| place_new(shared, &wanted, index)).collect()
}

/// What a file's policy says of new chunks.
struct Wanted {
    copies: u8,
    places: cairn_proto::policy::Placement,
}

impl Wanted {
    fn of(read: &dyn Read, inode: InodeId) -> Outcome<Self> {
        let policy = query::policy_of(read, inode)?;
        Ok(Self { copies: policy.copies, places: query::placement(read, policy.placement)? })
    }
}

/// A new chunk for a place of a file.
fn place_new(shared: &Shared, wanted: &Wanted, index: ChunkIndex) -> Result<Placement, FsError> {
    let members = shared.cluster.place_new(wanted.copies, &wanted.places)?;
    Ok(Placement { index, handle: shared.state.next_handle(), members })
}

/// A create that opens. The new inode is registered as open before it exists, so that nobody can reap it in between.
async fn create_open(shared: &Shared, asked: Asked, mutation: Mutation, new: InodeId, decided: Decided) -> OpResult {
    let (session, files) = (asked.origin.op.session, &shared.clients.files);
    // A client that chose the number comes with the same one when it tries again, and its first try has registered it. Where it cannot
    // be registered, the log says why.
    let registers = !files.is_open(session, new) && files.open(session, new, true).is_ok();
    let chunk = first_chunk_ahead(shared, &mutation, new);
    // In this order in the log, and by one sync.
    let (result, ()) = tokio::join!(shared.propose(asked, mutation, decided), chunk);
    let is_made = matches!(&result, Ok(Reply::Entry { attr, .. }) if attr.inode == new);
    if registers && !is_made {
        files.release(session, &[new]);
    }
    let reply = result?;
    if let Reply::Entry { attr, created, .. } = &reply {
        // An entry that was there before; or, to a retry, the one that its first try made and registered.
        if !(*created && files.is_open(session, attr.inode)) {
            register_open(shared, session, attr.inode, true)?;
        }
    }
    let mut reply = to_wire(reply)?;
    if let MutationReply::Entry { chunks, .. } = &mut reply
        && is_made
    {
        *chunks = locate(&shared.cluster, new, ChunkIndex(0), 1).unwrap_or_default();
    }
    Ok(reply)
}

/// Makes the first chunk of a file that is being created: whoever creates a file writes to it, and need not ask again. Where that
/// cannot be, or the file is not made after all, the writer asks.
fn first_chunk_ahead(shared: &Shared, mutation: &Mutation, new: InodeId) -> impl Future<Output = ()> + use<> {
    let placed = match mutation {
        Mutation::Create { parent, .. } => place_first(shared, *parent).ok(),
        _ => None,
    };
    let command = placed.map(|placement| {
        let mutation = Mutation::AllocateChunks { inode: new, first: ChunkIndex(0), count: 1 };
        let body = Body::Mutation { mutation, decided: Decided::Chunks(vec![placement]) };
        Command { origin: None, at: shared.state.wall(), body }
    });
    let state = shared.state.clone();
    async move {
        if let Some(command) = command
            && let Err(error) = state.propose(command).await
        {
            tracing::debug!(inode = %new, %error, "no chunk was made ahead");
        }
    }
}

fn place_first(shared: &Shared, parent: InodeId) -> Result<Placement, FsError> {
    let wanted = shared.state.read(|read| Wanted::of(read, parent))?;
    place_new(shared, &wanted, ChunkIndex(0))
}

/// Registers an open of an inode, and makes sure that it exists and is nobody else's: in this order, see [`crate::session::open_files`].
pub(super) fn register_open(
    shared: &Shared,
    session: SessionId,
    inode: InodeId,
    write: bool,
) -> Result<crate::namespace::inode::Inode, FsError> {
    shared.clients.files.open(session, inode, write)?;
    let found = shared.state.read(|read| Viewer::new(read, session).get_inode(inode));
    if found.is_err() {
        shared.clients.files.release(session, &[inode]);
    }
    found
}
