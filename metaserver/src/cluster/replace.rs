//! After a failed write: the members that failed are dropped, and the rest goes on under the next version.
//!
//! Any member holds every byte that was ever acknowledged, so any of them may go on alone. What is at stake is redundancy: a
//! client that reports a server because of one lost connection must not cost a good copy. So a reported server that answers
//! stays, under the new version, and the client tries again; reported once more for the same chunk within
//! [`SECOND_REPORT_WITHIN`] it goes (it may answer well and yet refuse the bytes: a full or failing disk).

use std::collections::HashMap;
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId};
use cairn_proto::meta::Mutation;
use futures::future::join_all;
use parking_lot::Mutex;

use super::members::{self, id_at};
use super::repair::Urgency;
use super::state::Standing;
use super::{Cluster, strays};
use crate::Moment;
use crate::command::{Command, Decided, Origin};

/// A second report of a server for the same chunk counts as one within this time.
pub const SECOND_REPORT_WITHIN: Duration = Duration::from_secs(30);
/// Reports that are remembered at most; beyond it the old ones are forgotten early.
const MAX_ACCUSATIONS: usize = 16_384;

/// Servers that clients reported for a chunk, and when.
#[derive(Debug, Default)]
pub struct Accusations {
    reported: Mutex<HashMap<(ChunkHandle, ServerId), Moment>>,
}

impl Accusations {
    /// Notes a report. `true`: it is the second one.
    pub fn note(&self, handle: ChunkHandle, server: ServerId, now: Moment) -> bool {
        let mut reported = self.reported.lock();
        let is_recent = |&then: &Moment| now.saturating_sub(then) < SECOND_REPORT_WITHIN;
        if reported.len() >= MAX_ACCUSATIONS {
            reported.retain(|_, then| is_recent(then));
            if reported.len() >= MAX_ACCUSATIONS {
                reported.clear();
            }
        }
        reported.insert((handle, server), now).as_ref().is_some_and(is_recent)
    }

    /// The copy was dropped, or made anew: it starts with a clean record.
    pub fn clear(&self, handle: ChunkHandle, server: ServerId) {
        self.reported.lock().remove(&(handle, server));
    }
}

/// A member, at the moment that a client reports failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody complains, and it answers.
    Fine,
    /// Reported for the first time, and it answers.
    Answers,
    /// Reported again, though it answers.
    ReportedAgain,
    /// Silent, to its heartbeats or to a question just now.
    Silent,
}

/// Who goes on. Empty: nobody can.
///
/// Where all that are left were reported again, they stay: somebody has to hold the chunk.
pub fn survivors(verdicts: &[(ServerId, Verdict)]) -> Vec<ServerId> {
    let of = |kept: &[Verdict]| -> Vec<ServerId> {
        verdicts.iter().filter(|(_, verdict)| kept.contains(verdict)).map(|(server, _)| *server).collect()
    };
    let good = of(&[Verdict::Fine, Verdict::Answers]);
    if good.is_empty() { of(&[Verdict::ReportedAgain]) } else { good }
}

/// A client's report: [`Mutation::ReplaceFailed`].
#[derive(Clone, Debug)]
pub struct FailedWrite {
    pub inode: InodeId,
    pub index: ChunkIndex,
    pub handle: ChunkHandle,
    pub version: ChunkVersion,
    pub failed: Vec<ServerId>,
}

/// Carries a report out. Where this succeeds, the chunk's location is new, or was already.
pub async fn replace_failed(cluster: &Cluster, origin: Origin, report: FailedWrite) -> Result<(), FsError> {
    let handle = report.handle;
    let _busy = cluster.busy.begin(handle).ok_or(FsError::ChunkBusy(handle))?;
    let chunk = cluster.chunk(handle)?.ok_or(FsError::Stale(report.inode))?;
    if chunk.version != report.version {
        return Ok(());
    }
    let verdicts = judge(cluster, &chunk.members, &report).await;
    let going_on = survivors(&verdicts);
    if going_on.is_empty() {
        return Err(FsError::NoReplica(handle));
    }
    let mut members = going_on;
    cluster.state.propose(as_command(cluster, origin, report, members.clone())).await?;
    let mut version = chunk.version.next();
    let holding = members::hold(cluster, id_at(handle, version, &chunk), chunk.length, &members).await;
    if holding.is_empty() {
        return Err(FsError::NoReplica(handle));
    }
    if holding.len() < members.len() {
        // Those who did not hear of it cannot take part; those who did are fenced already.
        members::change(cluster, handle, version, holding.clone()).await?;
        version = version.next();
        members = holding;
    }
    log_outcome(cluster, handle, version, &chunk.members, &members);
    if members.len() < usize::from(chunk.target) {
        cluster.repairs.push(handle, Urgency::lacking(members.len()), cluster.now());
    }
    strays::sweep(cluster, handle)
}

/// Asks every member that may be up, the ones that nobody complains of, too: where all are killed at once, whoever is told of
/// first must not cost the others their good copies.
async fn judge(cluster: &Cluster, members: &[ServerId], report: &FailedWrite) -> Vec<(ServerId, Verdict)> {
    join_all(members.iter().map(|&server| async move {
        let now = cluster.now();
        let is_up = cluster.registry.standing(server, now) == Standing::Up;
        let is_reported = report.failed.contains(&server);
        let again = is_up && is_reported && cluster.accusations.note(report.handle, server, now);
        // After a restart of this metaserver the servers are there before it has heard of them.
        let may_answer = is_up || cluster.registry.is_expected(server);
        let verdict = match may_answer && answers(cluster, server).await {
            false => Verdict::Silent,
            true if again => Verdict::ReportedAgain,
            true if is_reported => Verdict::Answers,
            true => Verdict::Fine,
        };
        (server, verdict)
    }))
    .await
}

/// Whether the server itself answers at its address.
async fn answers(cluster: &Cluster, server: ServerId) -> bool {
    match cluster.registry.endpoint(server) {
        Some(endpoint) => cluster.peers.identity(&endpoint).await == Ok(server),
        None => false,
    }
}

/// The command says who is dropped, which is not all that the client complained of.
fn as_command(cluster: &Cluster, origin: Origin, report: FailedWrite, survivors: Vec<ServerId>) -> Command {
    let FailedWrite { inode, index, handle, version, mut failed } = report;
    failed.retain(|server| !survivors.contains(server));
    let mutation = Mutation::ReplaceFailed { inode, index, handle, version, failed };
    Command::mutation(origin, cluster.state.wall(), mutation, Decided::Survivors(survivors))
}

fn log_outcome(cluster: &Cluster, handle: ChunkHandle, version: ChunkVersion, before: &[ServerId], after: &[ServerId]) {
    for &server in before.iter().filter(|server| !after.contains(server)) {
        cluster.accusations.clear(handle, server);
        let name = cluster.registry.name(server);
        tracing::warn!(%handle, %version, server = %name, copies = after.len(), "a write failed: the copy is dropped");
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn server(n: u128) -> ServerId {
        ServerId(Uuid::from_u128(n))
    }

    fn survivors_of(verdicts: &[Verdict]) -> Vec<ServerId> {
        let numbered: Vec<_> = verdicts.iter().enumerate().map(|(n, v)| (server(n as u128), *v)).collect();
        survivors(&numbered)
    }

    #[test]
    fn who_answers_stays_once() {
        use Verdict::*;
        assert_eq!(survivors_of(&[Fine, Answers, Silent]), [server(0), server(1)]);
        assert_eq!(survivors_of(&[Fine, ReportedAgain]), [server(0)]);
        assert_eq!(survivors_of(&[Silent, Answers]), [server(1)]);
    }

    #[test]
    fn somebody_has_to_hold_it() {
        use Verdict::*;
        assert_eq!(survivors_of(&[ReportedAgain, ReportedAgain]), [server(0), server(1)]);
        assert_eq!(survivors_of(&[Silent, ReportedAgain]), [server(1)]);
        assert_eq!(survivors_of(&[Silent, Silent]), []);
    }

    #[test]
    fn the_second_report_counts_for_a_while() {
        let accusations = Accusations::default();
        let start = Moment::from_secs(1000);
        let (handle, a) = (ChunkHandle(1), server(1));
        assert!(!accusations.note(handle, a, start));
        assert!(!accusations.note(ChunkHandle(2), a, start));
        assert!(accusations.note(handle, a, start + SECOND_REPORT_WITHIN / 2));
        assert!(!accusations.note(handle, a, start + 2 * SECOND_REPORT_WITHIN));
        accusations.clear(handle, a);
        assert!(!accusations.note(handle, a, start + 2 * SECOND_REPORT_WITHIN));
    }
}
