//! What was done under delegations, sent in order; and the delegations themselves.

use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::meta::{
    Ahead, Delegation, Events, InodeRange, MetaServiceClient, Mutation, MutationReply, NamedMutation, OpenMode,
};

use super::client::MetaClient;
use super::error::MetaError;
use super::ops::Ticket;
use super::retry::Attempt;
use super::session::Established;

/// A mutation that this mount has done already.
#[derive(Debug)]
pub struct AheadOp {
    pub mutation: Mutation,
    pub ahead: Ahead,
    /// Its name, from its first sending on.
    ticket: Option<Ticket>,
}

impl AheadOp {
    pub fn new(mutation: Mutation, ahead: Ahead) -> Self {
        Self { mutation, ahead, ticket: None }
    }
}

type OpResult = Result<MutationReply, FsError>;

impl MetaClient {
    /// Sends them in order until some are answered: at least one, where there is any. What was not is to be sent again, as it is.
    /// [`MetaError::SessionLost`]: they were done in another session than `session`, and never will be.
    pub async fn mutate_ahead(
        &self,
        session: Option<SessionId>,
        ops: &mut [AheadOp],
    ) -> Result<Vec<OpResult>, MetaError> {
        let mut patience = self.patience("mutate");
        loop {
            let over = patience.established().await?;
            if session.is_some_and(|session| session != over.session.id) {
                return Err(MetaError::SessionLost);
            }
            for op in ops.iter_mut().filter(|op| op.ticket.is_none()) {
                op.ticket = Some(over.session.ops.open().await);
            }
            let acked = over.session.ops.acked();
            let named: Vec<NamedMutation> = ops.iter().filter_map(AheadOp::named).collect();
            let call = Box::pin(patience.attempt(&over, async |rpc: cairn_proto::meta::MetaServiceClient, context| {
                rpc.mutate(context, named, acked).await
            }));
            let Attempt::Done(mut results) = call.await? else { continue };
            if matches!(results.first(), Some(Err(FsError::SessionUnknown(_)))) {
                return Err(MetaError::SessionLost);
            }
            let answered = results.iter().take_while(|result| !is_undone(result)).count();
            if answered > 0 || ops.is_empty() {
                results.truncate(answered);
                return Ok(results);
            }
            patience.pause().await?;
        }
    }

    /// A directory of at most `max_entries` entries, and the session that it is delegated to.
    pub async fn take_delegation(
        &self,
        inode: InodeId,
        max_entries: u64,
    ) -> Result<Option<(Delegation, SessionId)>, MetaError> {
        let (session, reply) =
            self.mutate_in_session("take_delegation", Mutation::TakeDelegation { inode, max_entries }).await?;
        match reply {
            MutationReply::Delegated(delegation) => Ok(delegation.map(|delegation| (delegation, session))),
            _ => Err(self.unexpected("take_delegation")),
        }
    }

    pub async fn return_delegation(&self, inode: InodeId) -> Result<(), MetaError> {
        self.mutate("return_delegation", Mutation::ReturnDelegation { inode }).await.map(drop)
    }

    pub async fn reserve_inodes(&self, count: u32) -> Result<InodeRange, MetaError> {
        self.with_session("reserve_inodes", async |rpc, context, session| {
            rpc.reserve_inodes(context, session, count).await
        })
        .await
    }

    /// What the session is asked to do, as soon as there is something, or a while later; with who asks whom, and at once where that
    /// is not as it was.
    pub async fn events(&self, was: Option<Standing>, seen: u64) -> Result<(Standing, Events), MetaError> {
        let mut patience = self.patience("events");
        loop {
            let over = patience.established().await?;
            let standing = Standing::of(&over);
            if was != Some(standing) {
                return Ok((standing, Events { seen: 0, events: Vec::new() }));
            }
            let call = async |rpc: MetaServiceClient, context| rpc.events(context, standing.session, seen).await;
            if let Attempt::Done(events) = patience.attempt(&over, call).await? {
                return Ok((standing, events));
            }
        }
    }

    /// A file was opened here, under a delegation. The metaserver hears of it with its creation, or when it matters.
    pub fn opened_ahead(&self, inode: InodeId) {
        self.opens.opened(inode);
    }

    /// A file's creation leaves for the metaserver: answers whether the file is still open here, or opens it where that is `wanted`; then it
    /// is counted along with its creation, and [`Self::end_registering`] follows when that is done.
    pub fn begin_registering(&self, inode: InodeId, wanted: bool) -> bool {
        let is_open = self.opens.hold(inode);
        if !is_open && wanted {
            self.opens.opened(inode);
        }
        if is_open || wanted {
            self.opens.attempted(inode);
        }
        is_open || wanted
    }

    /// Tells the metaserver of a file that is open here, if it still is.
    pub async fn register_open(&self, inode: InodeId) {
        if !self.opens.hold(inode) {
            return;
        }
        let registered = self
            .with_session("open", async |rpc, context, session| {
                self.opens.attempted(inode);
                rpc.open(context, session, inode, OpenMode { read: true, write: false }).await
            })
            .await;
        self.end_registering(inode);
        if let Err(error) = registered {
            tracing::debug!(%inode, %error, "an open file was not registered");
        }
    }

    /// Files that are open here and of which the metaserver has not been told.
    pub fn unregistered(&self) -> Vec<InodeId> {
        self.opens.untold()
    }

    pub fn end_registering(&self, inode: InodeId) {
        self.opens.closed(inode, true);
    }
}

/// With which metaserver this mount stands how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    pub session: SessionId,
    /// Another one after a restart of the metaserver, which knows of no leases then.
    pub incarnation: u64,
    /// The one that opened the session.
    opened_by: u64,
}

impl Standing {
    fn of(over: &Established) -> Self {
        Self { session: over.session.id, incarnation: over.incarnation, opened_by: over.session.opened_by }
    }

    /// Whether the metaserver has restarted in this session, and `before` was before that.
    pub fn has_restarted_since(self, before: Option<Self>) -> bool {
        let known = before.filter(|before| before.session == self.session);
        self.incarnation != known.map_or(self.opened_by, |before| before.incarnation)
    }
}

impl AheadOp {
    fn named(&self) -> Option<NamedMutation> {
        let ticket = self.ticket.as_ref()?;
        Some(NamedMutation { op: ticket.op(), mutation: self.mutation.clone(), ahead: Some(self.ahead) })
    }
}

/// Whether it was not done, and may yet be. A metaserver whose disk is full goes on when there is room.
fn is_undone(result: &OpResult) -> bool {
    let is_undone =
        |error: &FsError| error.is_transient() || matches!(error, FsError::NoSpace | FsError::SessionUnknown(_));
    result.as_ref().is_err_and(is_undone)
}
