//! Batches of mutations: many of a client's under way at once, and yet in order.

use std::sync::Arc;

use cairn_proto::error::FsError;
use cairn_proto::meta::{MAX_BATCH_OPS, NamedMutation};
use futures::StreamExt;
use futures::stream::FuturesOrdered;

use super::Shared;
use super::mutate::{OpResult, depends_on_earlier, one};
use crate::session::recalls::Patience;

/// Does a batch, in order. Those that only the log decides are under way together; the log keeps their order.
///
/// Those that have to wait for somebody's delegation are done again one after the other, so that among themselves they keep it, too.
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
    let mut batch = Batch::new(shared, &ops, acked);
    let mut under_way = FuturesOrdered::new();
    for op in &ops {
        if depends_on_earlier(&op.mutation) {
            while let Some(result) = under_way.next().await {
                batch.done(result).await;
            }
        }
        under_way.push_back(one(shared, op, acked));
    }
    while let Some(result) = under_way.next().await {
        batch.done(result).await;
    }
    Ok(batch.results)
}

/// A batch under way.
struct Batch<'a> {
    shared: &'a Shared,
    ops: &'a [NamedMutation],
    acked: u64,
    /// Of the first of them.
    results: Vec<OpResult>,
    /// With those who have something delegated, for all of them together.
    patience: Patience,
    /// One was done again.
    redone: bool,
    /// One was not, as it took too long: then none behind it is.
    given_up: bool,
}

impl<'a> Batch<'a> {
    fn new(shared: &'a Shared, ops: &'a [NamedMutation], acked: u64) -> Self {
        let (results, patience) = (Vec::with_capacity(ops.len()), Patience::default());
        Self { shared, ops, acked, results, patience, redone: false, given_up: false }
    }

    /// The next one has this result, unless a delegation was in its way: then it is done again when that was returned.
    async fn done(&mut self, mut result: OpResult) {
        // It was not its turn, as an earlier one was not done. Now it may be.
        if self.redone && result == Err(FsError::NotReady) && self.next().ahead.is_some() {
            result = self.again().await;
        }
        while let Err(FsError::Delegated(directory)) = result
            && !self.given_up
        {
            match self.shared.clients.recall(directory, &mut self.patience).await {
                Ok(()) => {
                    self.redone = true;
                    result = self.again().await;
                }
                Err(error) => {
                    self.given_up = true;
                    result = Err(error);
                }
            }
        }
        self.results.push(result);
    }

    fn next(&self) -> &'a NamedMutation {
        &self.ops[self.results.len()]
    }

    async fn again(&self) -> OpResult {
        one(self.shared, self.next(), self.acked).await
    }
}
