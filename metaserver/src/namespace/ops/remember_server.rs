//! Remembering a chunkserver.

use cairn_proto::ids::ServerId;
use cairn_proto::transport::Endpoint;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::server::{self, Server};

pub(super) fn remember_server(
    change: &mut Change<'_>,
    id: ServerId,
    name: &str,
    endpoint: &Endpoint,
) -> Outcome<Reply> {
    server::put(&mut change.txn, id, &Server { name: name.to_owned(), endpoint: endpoint.clone() });
    Ok(Reply::Done)
}
