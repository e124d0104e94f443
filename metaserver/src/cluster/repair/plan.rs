//! What to do about one chunk, decided from what is known of its members.

use cairn_proto::chunkserver::ChunkState;
use cairn_proto::ids::ServerId;

use super::super::registry::MemberView;
use super::super::state::Standing;

/// A chunk as repair sees it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Copies that are asked for.
    pub target: usize,
    /// Bytes known to be written.
    pub length: u32,
    /// In chain order.
    pub members: &'a [MemberView],
    /// Members whose copies were found missing or damaged.
    pub bad: &'a [ServerId],
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    Nothing,
    /// Too few copies are up, but members that are away may come back with theirs.
    Wait,
    /// No good copy is up: nothing to copy from.
    Unavailable,
    /// These are enough; the other members may go.
    Shrink(Vec<ServerId>),
    /// The copy of a member is made anew, from one of the others.
    Refresh {
        bad: ServerId,
        good: Vec<ServerId>,
    },
    /// One more copy is needed.
    Add(Addition),
}

/// How a chunk gets one more copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Members to copy from.
    pub good: Vec<ServerId>,
    /// Members that stay while the copy is made. Lost ones do, in case the copying fails; unless the chunk is dirty: then a lost
    /// copy may differ in bytes that were never acknowledged, and must not come back as one of equals.
    pub stay: Vec<ServerId>,
    /// Members once the copy is made, the new one not among them: lost ones go as soon as there are enough without them.
    pub stay_after: Vec<ServerId>,
    /// Its copies must be made identical first.
    pub dirty: bool,
}

/// Decides.
pub fn plan(case: Case<'_>) -> Plan {
    let good: Vec<_> = case.members.iter().filter(|member| case.is_good(member)).collect();
    let ids = |members: &[&MemberView]| members.iter().map(|member| member.server).collect::<Vec<_>>();
    if good.is_empty() {
        return Plan::Unavailable;
    }
    let is_bad_and_up = |member: &&MemberView| member.standing == Standing::Up && !case.is_good(member);
    if let Some(bad) = case.members.iter().find(is_bad_and_up) {
        return Plan::Refresh { bad: bad.server, good: ids(&good) };
    }
    if good.len() >= case.target {
        let enough = &good[..case.target.max(1)];
        return if case.members.len() > enough.len() { Plan::Shrink(ids(enough)) } else { Plan::Nothing };
    }
    if case.is_unwritten() {
        return Plan::Nothing;
    }
    let away = case.members.iter().filter(|member| member.standing == Standing::Away).count();
    if good.len() + away >= case.target {
        return Plan::Wait;
    }
    let dirty = good.iter().any(|member| member.copy.is_some_and(|copy| copy.state == ChunkState::Dirty));
    let all = || case.members.iter().map(|member| member.server);
    let not_lost =
        || case.members.iter().filter(|member| member.standing != Standing::Lost).map(|member| member.server);
    let enough_without_lost = good.len() + 1 >= case.target;
    Plan::Add(Addition {
        good: ids(&good),
        stay: if dirty { not_lost().collect() } else { all().collect() },
        stay_after: if dirty || enough_without_lost { not_lost().collect() } else { all().collect() },
        dirty,
    })
}

impl Case<'_> {
    /// Nobody has written to it yet, as far as is known: it has as many copies as it needs.
    ///
    /// It gets no more members before somebody does. A server without a copy cannot be fenced: a writer from before could create
    /// the chunk at the old version, on the old members alone, and be acknowledged.
    pub fn is_unwritten(&self) -> bool {
        self.length == 0 && self.members.iter().all(|member| member.copy.is_none())
    }

    /// Copies that are up and hold the data, as far as is known.
    pub fn good_copies(&self) -> usize {
        self.members.iter().filter(|member| self.is_good(member)).count()
    }

    fn is_good(&self, member: &MemberView) -> bool {
        member.standing == Standing::Up && !self.bad.contains(&member.server)
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::ids::ChunkVersion;
    use uuid::Uuid;

    use super::super::super::copies::Copy;
    use super::*;

    fn server(n: u128) -> ServerId {
        ServerId(Uuid::from_u128(n))
    }

    fn servers(ids: &[u128]) -> Vec<ServerId> {
        ids.iter().copied().map(server).collect()
    }

    /// Members 1, 2, … of the given standings, each with a clean copy.
    fn members(standings: &[Standing]) -> Vec<MemberView> {
        let copy = Some(Copy { version: ChunkVersion(1), length: 9, state: ChunkState::Clean });
        let view = |(n, &standing): (usize, &Standing)| MemberView {
            server: server(n as u128 + 1),
            standing,
            reported: true,
            copy,
        };
        standings.iter().enumerate().map(view).collect()
    }

    fn plan_for(target: usize, members: &[MemberView], bad: &[ServerId]) -> Plan {
        plan(Case { target, length: 9, members, bad })
    }

    use Standing::{Away, Lost, Up};

    #[test]
    fn nothing_to_do() {
        assert_eq!(plan_for(2, &members(&[Up, Up]), &[]), Plan::Nothing);
        assert_eq!(plan_for(1, &members(&[Up]), &[]), Plan::Nothing);
    }

    #[test]
    fn the_absent_get_their_time() {
        assert_eq!(plan_for(2, &members(&[Up, Away]), &[]), Plan::Wait);
        assert_eq!(plan_for(3, &members(&[Away, Up, Away]), &[]), Plan::Wait);
        assert_eq!(plan_for(2, &members(&[Away, Away]), &[]), Plan::Unavailable);
        assert_eq!(plan_for(2, &members(&[Lost]), &[]), Plan::Unavailable);
    }

    #[test]
    fn surplus_goes() {
        assert_eq!(plan_for(1, &members(&[Up, Up]), &[]), Plan::Shrink(servers(&[1])));
        assert_eq!(plan_for(2, &members(&[Lost, Up, Up]), &[]), Plan::Shrink(servers(&[2, 3])));
        assert_eq!(plan_for(2, &members(&[Up, Away, Up]), &[]), Plan::Shrink(servers(&[1, 3])));
    }

    #[test]
    fn a_lost_member_stays_until_it_is_replaced() {
        let expected =
            Addition { good: servers(&[1]), stay: servers(&[1, 2]), stay_after: servers(&[1]), dirty: false };
        assert_eq!(plan_for(2, &members(&[Up, Lost]), &[]), Plan::Add(expected));
        let expected =
            Addition { good: servers(&[1]), stay: servers(&[1, 2]), stay_after: servers(&[1, 2]), dirty: false };
        assert_eq!(plan_for(3, &members(&[Up, Lost]), &[]), Plan::Add(expected));
    }

    #[test]
    fn a_lost_member_of_a_dirty_chunk_goes_at_once() {
        let mut members = members(&[Up, Lost, Away]);
        members[0].copy.as_mut().unwrap().state = ChunkState::Dirty;
        let expected =
            Addition { good: servers(&[1]), stay: servers(&[1, 3]), stay_after: servers(&[1, 3]), dirty: true };
        assert_eq!(plan_for(3, &members, &[]), Plan::Add(expected));
    }

    #[test]
    fn what_nobody_has_written_gets_no_new_members() {
        let mut members = members(&[Up, Lost]);
        members.iter_mut().for_each(|member| member.copy = None);
        assert_eq!(plan(Case { target: 2, length: 0, members: &members, bad: &[] }), Plan::Nothing);
        assert!(matches!(plan(Case { target: 2, length: 1, members: &members, bad: &[] }), Plan::Add(_)));
    }

    #[test]
    fn bad_copies_come_first() {
        let members = members(&[Up, Up, Lost]);
        let expected = Plan::Refresh { bad: server(2), good: servers(&[1]) };
        assert_eq!(plan_for(3, &members, &[server(2)]), expected);
        assert_eq!(plan_for(2, &members[..2], &[server(1), server(2)]), Plan::Unavailable);
    }
}
