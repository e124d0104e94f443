//! Handing many chunks back in one call.
//!
//! Each chunk has a chain of its own. What goes to the same member next goes in one call; so the calls branch where the chains
//! do, and each member syncs once for all of its chunks.

use std::collections::HashMap;

use cairn_proto::chunk::Replica;
use cairn_proto::chunkserver::{ChainAck, ChainRequest, MemberAck};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::ServerId;
use cairn_proto::transport::Endpoint;
use futures::future::join_all;
use tarpc::context::Context;

use super::Replication;
use super::chain::signed_by;
use super::peers::{answered, call, one_hop_less, unreachable};
use crate::failpoint::{BEFORE_FORWARD, crash_point};

/// The members behind this server that have done it.
type Behind = Result<Vec<MemberAck>, ChunkError>;

impl Replication {
    /// As `hand_back` for each of `requests`, with an answer for each, in their order.
    pub async fn hand_back_many(
        &self,
        context: Context,
        requests: Vec<ChainRequest>,
    ) -> Vec<Result<ChainAck, ChunkError>> {
        let chunks = requests.iter().map(|request| request.chunk).collect();
        let (here, behind) = tokio::join!(self.store.hand_back_many(chunks), self.pass_all_on(context, &requests));
        let outcomes = requests.iter().zip(here).zip(behind);
        let acknowledged = outcomes.map(|((request, here), behind)| {
            here?;
            self.acknowledge(request.chunk, behind?)
        });
        acknowledged.collect()
    }

    /// Has the next member of each chain do its part, and through it those behind.
    async fn pass_all_on(&self, context: Context, requests: &[ChainRequest]) -> Vec<Behind> {
        let mut by_next: HashMap<(ServerId, &Endpoint), Vec<usize>> = HashMap::new();
        for (place, request) in requests.iter().enumerate() {
            if let Some(next) = request.rest.first() {
                by_next.entry((next.server, &next.endpoint)).or_default().push(place);
            }
        }
        let calls = by_next.into_values().map(|places| async {
            let answers = self.pass_to_next(context, places.iter().map(|place| &requests[*place])).await;
            places.into_iter().zip(answers)
        });
        let mut behind: Vec<Behind> = requests.iter().map(|_| Ok(Vec::new())).collect();
        for (place, answer) in join_all(calls).await.into_iter().flatten() {
            behind[place] = answer;
        }
        behind
    }

    /// Passes on requests that have the same next member.
    async fn pass_to_next(&self, context: Context, requests: impl Iterator<Item = &ChainRequest>) -> Vec<Behind> {
        let mut next: Option<&Replica> = None;
        let mut passed_on = Vec::new();
        for ChainRequest { chunk, writer, rest } in requests {
            if let Some((first, behind)) = rest.split_first() {
                next = Some(first);
                passed_on.push(ChainRequest { chunk: *chunk, writer: *writer, rest: behind.to_vec() });
            }
        }
        let Some(next) = next else { return Vec::new() };
        crash_point(BEFORE_FORWARD);
        let client = self.peers.client(&next.endpoint);
        let (context, count) = (one_hop_less(context), passed_on.len());
        let answers = call(next.server, || client.hand_back_many(context, passed_on.clone())).await;
        match answers {
            Ok(answers) if answers.len() == count => {
                let members = |answer| answered(next.server, answer).and_then(|ack| signed_by(next, ack));
                answers.into_iter().map(members).collect()
            }
            Ok(answers) => {
                let why = format!("{} answers came to {count} requests", answers.len());
                vec![Err(unreachable(next.server, why)); count]
            }
            Err(error) => vec![Err(error); count],
        }
    }
}
