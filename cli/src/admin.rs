//! Calls to the metaserver's [`AdminService`](cairn_proto::admin::AdminService).

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cairn_proto::admin::{AdminServiceClient, AdminServiceRequest, AdminServiceResponse};
use cairn_proto::transport::{ConnectOptions, Endpoint, PeerKind, Reconnecting, Service};
use tarpc::client::RpcError;
use tarpc::context::Context;

/// A command gives up on one call after this long. An `fsck` page reads whole chunks.
const DEADLINE: Duration = Duration::from_secs(120);

/// The generated client over a connection that comes back by itself.
pub type Client = AdminServiceClient<Reconnecting<AdminServiceRequest, AdminServiceResponse>>;

/// A metaserver, for commands.
#[derive(Debug)]
pub struct Admin {
    endpoint: Endpoint,
    client: Client,
}

impl Admin {
    /// Connects, or says why not.
    pub async fn connect(endpoint: Endpoint) -> Result<Self> {
        let stub = Reconnecting::new(endpoint.clone(), ConnectOptions::new(Service::Admin, PeerKind::Admin));
        stub.connect().await.with_context(|| format!("cannot reach the metaserver at {endpoint}: is it running?"))?;
        Ok(Self { endpoint, client: AdminServiceClient::from(stub) })
    }

    /// Makes one call, whatever it is, and puts the metaserver's name into its error.
    pub async fn call<T, E, F>(&self, what: &str, call: impl FnOnce(Client, Context) -> F) -> Result<T>
    where
        E: std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<Result<T, E>, RpcError>>,
    {
        let mut context = Context::current();
        context.deadline = Instant::now() + DEADLINE;
        call(self.client.clone(), context)
            .await
            .with_context(|| format!("the metaserver at {} did not answer", self.endpoint))?
            .with_context(|| what.to_owned())
    }
}
