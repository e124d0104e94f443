//! After a failed write: the members that failed are dropped, and the rest goes on under the next version.
//!
//! Any member holds every byte that was ever acknowledged, so any of them may go on alone. What is at stake is redundancy: a
//! client that reports a server because of one lost connection must not cost a good copy. So a reported server that answers
//! stays, under the new version, and the client tries again; reported once more for the same chunk within
//! [`SECOND_REPORT_WITHIN`] it goes (it may answer well and yet refuse the bytes: a full or failing disk).
//!
//! A chunk that was never synced is gone when all its members lose power. Then its writer, if it has all bytes still, is given empty copies
//! to write them to; everybody else is told that they are lost. Nothing is changed before it is known who has a copy.

use std::collections::HashMap;
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId};
use cairn_proto::meta::Mutation;
use futures::future::join_all;
use parking_lot::Mutex;

use super::members::{self, id_at};
use super::peers::PeerError;
use super::repair::Urgency;
use super::state::Standing;
use super::{Cluster, strays};
use crate::Moment;
use crate::command::{Command, Decided, Origin};
use crate::namespace::Reply;

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
    /// It answers that it has no copy.
    Lacks,
    /// Silent, to its heartbeats or to a question just now.
    Silent,
}

/// Who goes on, and with what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Survivors {
    /// These, with the copies that they have.
    With(Vec<ServerId>),
    /// These, with empty ones: nobody has a copy.
    Anew(Vec<ServerId>),
    /// Nobody, until others are back.
    Away,
    /// Nobody, ever: all have lost it.
    Lost,
}

/// Who goes on. `may_be_anew`: nothing is missing where all copies are empty.
///
/// Where all that are left were reported again, they stay: somebody has to hold the chunk.
pub fn survivors(verdicts: &[(ServerId, Verdict)], may_be_anew: bool) -> Survivors {
    let of = |kept: &[Verdict]| -> Vec<ServerId> {
        verdicts.iter().filter(|(_, verdict)| kept.contains(verdict)).map(|(server, _)| *server).collect()
    };
    let first = [&[Verdict::Fine, Verdict::Answers][..], &[Verdict::ReportedAgain]].map(of).into_iter();
    match first.into_iter().find(|servers| !servers.is_empty()) {
        Some(with) => Survivors::With(with),
        None => match of(&[Verdict::Lacks]) {
            lacking if may_be_anew && !lacking.is_empty() => Survivors::Anew(lacking),
            lacking if lacking.len() == verdicts.len() => Survivors::Lost,
            _ => Survivors::Away,
        },
    }
}

/// A client's report: [`Mutation::ReplaceFailed`].
#[derive(Clone, Debug)]
pub struct FailedWrite {
    pub inode: InodeId,
    pub index: ChunkIndex,
    pub handle: ChunkHandle,
    pub version: ChunkVersion,
    pub failed: Vec<ServerId>,
    /// The writer has all bytes of the chunk up to this one.
    pub held: u32,
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
    let (mut members, decided, length) = match survivors(&verdicts, report.held >= chunk.length) {
        Survivors::With(members) => (members.clone(), Decided::Survivors(members), chunk.length),
        Survivors::Anew(members) => (members.clone(), Decided::Anew(members), 0),
        Survivors::Away => return Err(FsError::NoReplica(handle)),
        Survivors::Lost => {
            tracing::error!(chunk = %handle, inode = %chunk.inode, length = chunk.length, "all copies of a chunk are lost");
            return Err(FsError::ChunkLost(handle));
        }
    };
    if length < chunk.length {
        tracing::warn!(chunk = %handle, inode = %chunk.inode, "all copies of a chunk are lost: its writer writes it anew");
    }
    let mut version = chunk.version.next();
    let reply = cluster.state.propose(as_command(cluster, origin, report, &members, decided)).await?;
    if !matches!(&reply, Reply::Chunks(now) if now.iter().any(|now| now.id.version == version)) {
        // More was committed meanwhile than the writer says it has: it looks again.
        return Ok(());
    }
    let holding = members::hold(cluster, id_at(handle, version, &chunk), length, &members).await?;
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
        let has_copy = if may_answer { has_copy(cluster, server, report.handle).await } else { None };
        let verdict = match has_copy {
            None => Verdict::Silent,
            Some(false) => Verdict::Lacks,
            Some(true) if again => Verdict::ReportedAgain,
            Some(true) if is_reported => Verdict::Answers,
            Some(true) => Verdict::Fine,
        };
        (server, verdict)
    }))
    .await
}

/// Whether the server has a copy, good or bad; `None` where it does not answer itself at its address.
async fn has_copy(cluster: &Cluster, server: ServerId, handle: ChunkHandle) -> Option<bool> {
    let endpoint = cluster.registry.endpoint(server)?;
    if cluster.peers.identity(&endpoint).await != Ok(server) {
        return None;
    }
    match cluster.peers.stat(&endpoint, handle).await {
        Ok(_) => Some(true),
        Err(error) if error.is_not_found() => Some(false),
        Err(PeerError::Refused(_)) => Some(true),
        Err(PeerError::Unreachable { .. }) => None,
    }
}

/// The command says who is dropped, which is not all that the client complained of.
fn as_command(
    cluster: &Cluster,
    origin: Origin,
    report: FailedWrite,
    going_on: &[ServerId],
    decided: Decided,
) -> Command {
    let FailedWrite { inode, index, handle, version, mut failed, held } = report;
    failed.retain(|server| !going_on.contains(server));
    let mutation = Mutation::ReplaceFailed { inode, index, handle, version, failed, held };
    Command::mutation(origin, cluster.state.wall(), mutation, decided)
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

    fn survivors_of(verdicts: &[Verdict], may_be_anew: bool) -> Survivors {
        let numbered: Vec<_> = verdicts.iter().enumerate().map(|(n, v)| (server(n as u128), *v)).collect();
        survivors(&numbered, may_be_anew)
    }

    fn with(servers: &[u128]) -> Survivors {
        Survivors::With(servers.iter().map(|&n| server(n)).collect())
    }

    #[test]
    fn who_answers_stays_once() {
        use Verdict::*;
        for may_be_anew in [false, true] {
            assert_eq!(survivors_of(&[Fine, Answers, Silent], may_be_anew), with(&[0, 1]));
            assert_eq!(survivors_of(&[Fine, ReportedAgain], may_be_anew), with(&[0]));
            assert_eq!(survivors_of(&[Silent, Answers], may_be_anew), with(&[1]));
        }
    }

    #[test]
    fn somebody_has_to_hold_it() {
        use Verdict::*;
        for may_be_anew in [false, true] {
            assert_eq!(survivors_of(&[ReportedAgain, ReportedAgain], may_be_anew), with(&[0, 1]));
            assert_eq!(survivors_of(&[Silent, ReportedAgain], may_be_anew), with(&[1]));
            assert_eq!(survivors_of(&[Lacks, ReportedAgain], may_be_anew), with(&[1]), "the only copy");
            assert_eq!(survivors_of(&[Silent, Silent], may_be_anew), Survivors::Away);
        }
    }

    #[test]
    fn what_nobody_has_is_lost_or_made_anew() {
        use Verdict::*;
        assert_eq!(survivors_of(&[Lacks, Lacks], false), Survivors::Lost);
        assert_eq!(survivors_of(&[Lacks, Silent], false), Survivors::Away);
        assert_eq!(survivors_of(&[Lacks, Silent], true), Survivors::Anew(vec![server(0)]));
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
