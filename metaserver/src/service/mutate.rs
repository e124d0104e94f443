//! Changes: decided here, done by the log.

use std::sync::Arc;

use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkIndex, InodeId, SessionId};
use cairn_proto::meta::{MAX_BATCH_OPS, Mutation, MutationReply, NamedMutation, NewNode};
use futures::StreamExt;
use futures::stream::FuturesOrdered;

use super::Shared;
use crate::cluster::locate::locate;
use crate::cluster::replace::{FailedWrite, replace_failed};
use crate::command::{Body, Command, Decided, Origin, Placement};
use crate::namespace::{NamespaceError, Reply, query};

type OpResult = Result<MutationReply, FsError>;

/// Does a batch, in order. Those that only the log decides are under way together; the log keeps their order.
pub(super) async fn mutate(
    shared: &Arc<Shared>,
    ops: Vec<NamedMutation>,
    acked: u64,
) -> Result<Vec<OpResult>, FsError> {
    let Some(session) = ops.first().map(|op| op.op.session) else { return Ok(Vec::new()) };
    if ops.len() > MAX_BATCH_OPS || ops.iter().any(|op| op.op.session != session) {
        return Err(FsError::InvalidArgument);
    }
    shared.clients.heard(session)?;
    let mut results = Vec::with_capacity(ops.len());
    let mut under_way = FuturesOrdered::new();
    for op in ops {
        if depends_on_earlier(&op.mutation) {
            while let Some(result) = under_way.next().await {
                results.push(result);
            }
        }
        under_way.push_back(one(shared, op, acked));
    }
    while let Some(result) = under_way.next().await {
        results.push(result);
    }
    Ok(results)
}

/// Whether deciding it looks at what earlier ones of its batch may change.
fn depends_on_earlier(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::AllocateChunks { .. } | Mutation::ReplaceFailed { .. })
}

async fn one(shared: &Shared, op: NamedMutation, acked: u64) -> OpResult {
    let NamedMutation { op, mutation } = op;
    shared.room.admit(&mutation)?;
    let origin = Origin { op, acked };
    match mutation {
        Mutation::ReplaceFailed { inode, index, handle, version, failed } => {
            let report = FailedWrite { inode, index, handle, version, failed };
            replace_failed(&shared.cluster, origin, report).await?;
            Ok(MutationReply::Chunks(locate(&shared.cluster, inode, index, 1)?))
        }
        Mutation::AllocateChunks { inode, first, count } => {
            let decided = Decided::Chunks(place_missing(shared, inode, first, count)?);
            shared.propose(origin, mutation, decided).await?;
            // Not the reply itself: to a retry it would be the one of the first time.
            Ok(MutationReply::Chunks(locate(&shared.cluster, inode, first, count)?))
        }
        Mutation::Create { open: true, node: NewNode::File, .. } => create_open(shared, origin, mutation).await,
        Mutation::Create { .. } => {
            let decided = Decided::Inode(shared.state.next_inode());
            to_wire(shared.propose(origin, mutation, decided).await?)
        }
        _ => to_wire(shared.propose(origin, mutation, Decided::Nothing).await?),
    }
}

impl Shared {
    async fn propose(&self, origin: Origin, mutation: Mutation, decided: Decided) -> Result<Reply, FsError> {
        self.state.propose(Command::mutation(origin, self.state.wall(), mutation, decided)).await
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
    let (existing, policy) = shared.state.read(|read| {
        Ok::<_, NamespaceError>((query::locate(read, inode, first, count)?, query::policy_of(read, inode)?))
    })?;
    let end = first.0.checked_add(count).ok_or(FsError::FileTooLarge)?;
    let is_missing = |index: &ChunkIndex| !existing.iter().any(|view| view.id.index == *index);
    let missing = (first.0..end).map(ChunkIndex).filter(is_missing);
    missing.map(|index| place_new(shared, policy.copies, index)).collect()
}

/// A new chunk for a place of a file.
fn place_new(shared: &Shared, copies: u8, index: ChunkIndex) -> Result<Placement, FsError> {
    let members = shared.cluster.place(copies, &[])?;
    Ok(Placement { index, handle: shared.state.next_handle(), members })
}

/// A create that opens. The new inode is registered as open before it exists, so that nobody can reap it in between.
async fn create_open(shared: &Shared, origin: Origin, mutation: Mutation) -> OpResult {
    let session = origin.op.session;
    let new = shared.state.next_inode();
    shared.clients.files.open(session, new, true)?;
    let ahead = first_chunk_ahead(shared, &mutation, new);
    // In this order in the log, and by one sync.
    let (result, ()) = tokio::join!(shared.propose(origin, mutation, Decided::Inode(new)), ahead);
    match &result {
        Ok(Reply::Entry { attr, .. }) if attr.inode == new => {
            let mut reply = to_wire(result?)?;
            if let MutationReply::Entry { chunks, .. } = &mut reply {
                *chunks = locate(&shared.cluster, new, ChunkIndex(0), 1).unwrap_or_default();
            }
            return Ok(reply);
        }
        _ => shared.clients.files.release(session, &[new]),
    }
    let reply = result?;
    if let Reply::Entry { attr, created, .. } = &reply {
        // An entry that was there before; or, to a retry, the one that its first try made and registered.
        if !(*created && shared.clients.files.is_open(session, attr.inode)) {
            register_open(shared, session, attr.inode, true)?;
        }
    }
    to_wire(reply)
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
    let policy = shared.state.read(|read| query::policy_of(read, parent))?;
    place_new(shared, policy.copies, ChunkIndex(0))
}

/// Registers an open of an inode, and makes sure that it exists: in this order, see [`crate::session::open_files`].
pub(super) fn register_open(
    shared: &Shared,
    session: SessionId,
    inode: InodeId,
    write: bool,
) -> Result<crate::namespace::inode::Inode, FsError> {
    shared.clients.files.open(session, inode, write)?;
    let found = shared.state.read(|read| query::get_inode(read, inode));
    if found.is_err() {
        shared.clients.files.release(session, &[inode]);
    }
    found
}
