//! Waiting out what passes: lost connections, restarts, transient refusals.

use std::time::{Duration, Instant};

use cairn_proto::error::FsError;
use cairn_proto::meta::MetaServiceClient;
use cairn_proto::transport::{Backoff, CallFailure, Endpoint, classify};
use tarpc::client::RpcError;
use tarpc::context::Context;
use tokio_util::sync::CancellationToken;

use super::config::CALL_DEADLINE;
use super::error::MetaError;
use super::link::{Doubt, Link, context, timed};
use super::outage::Outage;
use super::session::Established;

/// Wait after a first transient refusal; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Longest wait between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What an attempt came to, as far as the caller must know.
pub(super) enum Attempt<T> {
    Done(T),
    /// Nothing happened at the metaserver.
    NotDone,
    /// Nobody knows what happened.
    InDoubt,
}

/// What ends the patience of all operations.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    pub stop: &'a CancellationToken,
    pub outage: &'a Outage,
    /// For an operation, and for an outage: in one that has lasted so long, no operation waits any more.
    pub timeout: Option<Duration>,
}

/// The patience of one operation.
pub(super) struct Patience<'a> {
    link: &'a Link,
    endpoint: &'a Endpoint,
    limits: Limits<'a>,
    asked: &'static str,
    since: Instant,
    backoff: Backoff,
}

impl<'a> Patience<'a> {
    pub fn new(link: &'a Link, endpoint: &'a Endpoint, limits: Limits<'a>, asked: &'static str) -> Self {
        let backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        Self { link, endpoint, limits, asked, since: Instant::now(), backoff }
    }

    /// The connection to use for the next attempt.
    pub async fn established(&self) -> Result<Established, MetaError> {
        if let Some(established) = self.link.current() {
            return Ok(established);
        }
        self.bounded(self.link.established()).await?.ok_or(MetaError::Stopping)
    }

    /// Waits a little before the next attempt.
    pub async fn pause(&mut self) -> Result<(), MetaError> {
        let wait = self.backoff.after_failure();
        self.bounded(tokio::time::sleep(wait)).await
    }

    /// One call. Refusals that are answers come back as errors; what passes has been reported to the link and paused for.
    pub async fn attempt<T, Fut>(
        &mut self,
        over: &Established,
        call: impl FnOnce(MetaServiceClient, Context) -> Fut,
    ) -> Result<Attempt<T>, MetaError>
    where
        Fut: Future<Output = Result<Result<T, FsError>, RpcError>>,
    {
        let deadline = self.remaining().map_or(CALL_DEADLINE, |left| left.min(CALL_DEADLINE));
        // Boxed, as each layer of waiting around it would hold it twice: the future of a call would be moved about by tens of KiB.
        let call = Box::pin(timed(call(over.rpc.clone(), context(deadline)), deadline));
        let result = self.bounded(call).await?;
        match result {
            Ok(Ok(value)) => Ok(Attempt::Done(value)),
            Ok(Err(FsError::SessionUnknown(session))) => {
                self.link.doubt(Doubt::Session(session));
                self.pause().await?;
                Ok(Attempt::NotDone)
            }
            Ok(Err(error)) if error.is_transient() => {
                tracing::debug!(asked = self.asked, %error, "asking again");
                self.pause().await?;
                // A metaserver that stops half way may yet have done it.
                Ok(if error == FsError::NotReady { Attempt::InDoubt } else { Attempt::NotDone })
            }
            Ok(Err(error)) => Err(error.into()),
            Err(error) => self.failed(over, &error).await,
        }
    }

    async fn failed<T>(&mut self, over: &Established, error: &RpcError) -> Result<Attempt<T>, MetaError> {
        tracing::debug!(asked = self.asked, %error, "asking again");
        match classify(error) {
            CallFailure::Unsendable => Err(MetaError::TooLarge { asked: self.asked }),
            CallFailure::NotSent => {
                self.link.doubt(Doubt::Connection(over.epoch));
                self.pause().await?;
                Ok(Attempt::NotDone)
            }
            CallFailure::Lost => {
                self.link.doubt(Doubt::Connection(over.epoch));
                self.pause().await?;
                Ok(Attempt::InDoubt)
            }
            CallFailure::TimedOut => Ok(Attempt::InDoubt),
            CallFailure::Refused => {
                self.pause().await?;
                Ok(Attempt::InDoubt)
            }
        }
    }

    /// Runs `wait` until it is over, the mount stops, or patience ends.
    async fn bounded<T>(&self, wait: impl Future<Output = T>) -> Result<T, MetaError> {
        let wait = async {
            match self.remaining() {
                Some(left) => tokio::time::timeout(left, wait).await.map_err(|_| self.timed_out()),
                None => Ok(wait.await),
            }
        };
        self.limits.stop.run_until_cancelled(wait).await.unwrap_or(Err(MetaError::Stopping))
    }

    fn remaining(&self) -> Option<Duration> {
        self.limits.timeout.map(|timeout| timeout.saturating_sub(self.waited()))
    }

    fn waited(&self) -> Duration {
        self.since.elapsed().max(self.limits.outage.lasts().unwrap_or_default())
    }

    fn timed_out(&self) -> MetaError {
        MetaError::TimedOut { endpoint: self.endpoint.clone(), waited: self.waited() }
    }
}
