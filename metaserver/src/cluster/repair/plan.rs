//! What to do about one chunk, decided from what is known of its members.

use cairn_proto::chunkserver::ChunkState;
use cairn_proto::ids::ServerId;
use cairn_proto::policy::Placement;

use super::super::placement::best_spread;
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
    /// Where its copies may be.
    pub placement: &'a Placement,
    /// Members whose copies were found missing or damaged.
    pub bad: &'a [ServerId],
    /// A member whose copy would be better off elsewhere, though its server stays.
    pub unwanted: Option<ServerId>,
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
    /// All copies that are up are damaged: each gets from the others what is still good there.
    Merge(Vec<ServerId>),
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
    /// Members once the copy is made, the new one not among them: those that are lost, or whose copies are to go, go as soon as there are
    /// enough without them.
    pub stay_after: Vec<ServerId>,
    /// Its copies must be made identical first.
    pub dirty: bool,
}

/// Decides.
pub fn plan(case: Case<'_>) -> Plan {
    let good: Vec<_> = case.members.iter().filter(|member| case.is_good(member)).collect();
    let ids = |members: &[&MemberView]| members.iter().map(|member| member.server).collect::<Vec<_>>();
    if good.is_empty() {
        let damaged = case.members.iter().filter(|member| member.standing == Standing::Up && member.copy.is_some());
        let damaged: Vec<_> = damaged.map(|member| member.server).collect();
        return if damaged.len() > 1 { Plan::Merge(damaged) } else { Plan::Unavailable };
    }
    let is_bad_and_up = |member: &&MemberView| member.standing == Standing::Up && !case.is_good(member);
    if let Some(bad) = case.members.iter().find(is_bad_and_up) {
        return Plan::Refresh { bad: bad.server, good: ids(&good) };
    }
    let staying: Vec<_> = good.iter().filter(|member| !case.is_to_go(member)).copied().collect();
    if staying.len() >= case.target {
        let places: Vec<_> = staying.iter().map(|member| member.place).collect();
        let best = best_spread(&places, case.placement, case.target.max(1));
        let enough: Vec<_> = best.into_iter().map(|n| staying[n]).collect();
        return if case.members.len() > enough.len() { Plan::Shrink(ids(&enough)) } else { Plan::Nothing };
    }
    if case.is_unwritten() {
        return Plan::Nothing;
    }
    let away = case.members.iter().filter(|member| member.standing == Standing::Away && !case.is_to_go(member)).count();
    if staying.len() + away >= case.target {
        return Plan::Wait;
    }
    let dirty = good.iter().any(|member| member.copy.is_some_and(|copy| copy.state == ChunkState::Dirty));
    let all = || case.members.iter().map(|member| member.server);
    let not_lost =
        || case.members.iter().filter(|member| member.standing != Standing::Lost).map(|member| member.server);
    let wanted = || case.members.iter().filter(|m| m.standing != Standing::Lost && !case.is_to_go(m)).map(|m| m.server);
    let enough_with_it = staying.len() + 1 >= case.target;
    let stay: Vec<_> = if dirty { not_lost().collect() } else { all().collect() };
    let replaced = good.iter().find(|member| case.is_to_go(member) && good.len() >= case.target);
    let stay_after = match replaced {
        _ if enough_with_it => wanted().collect(),
        // One comes, one goes: as many as before.
        Some(gone) => stay.iter().copied().filter(|&server| server != gone.server).collect(),
        None => stay.clone(),
    };
    Plan::Add(Addition { good: ids(&good), stay, stay_after, dirty })
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

    /// It holds data, and is to be replaced nevertheless.
    fn is_to_go(&self, member: &MemberView) -> bool {
        member.leaving || self.unwanted == Some(member.server)
    }

    /// Copies that are up, hold the data, and may stay where they are.
    pub fn staying_copies(&self) -> usize {
        self.members.iter().filter(|member| self.is_good(member) && !self.is_to_go(member)).count()
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
        let copy =
            Some(Copy { version: ChunkVersion(1), length: 9, state: ChunkState::Clean, disk: Default::default() });
        let view = |(n, &standing): (usize, &Standing)| MemberView {
            server: server(n as u128 + 1),
            standing,
            reported: true,
            copy,
            place: None,
            leaving: false,
        };
        standings.iter().enumerate().map(view).collect()
    }

    fn case<'a>(target: usize, members: &'a [MemberView], placement: &'a Placement) -> Case<'a> {
        Case { target, length: 9, members, placement, bad: &[], unwanted: None }
    }

    fn plan_for(target: usize, members: &[MemberView], bad: &[ServerId]) -> Plan {
        plan(Case { bad, ..case(target, members, &Placement::default()) })
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
        let anywhere = Placement::default();
        assert_eq!(plan(Case { length: 0, ..case(2, &members, &anywhere) }), Plan::Nothing);
        assert!(matches!(plan(Case { length: 1, ..case(2, &members, &anywhere) }), Plan::Add(_)));
    }

    #[test]
    fn what_leaves_is_copied_first_and_goes_then() {
        let mut two = members(&[Up, Up]);
        two[0].leaving = true;
        let expected =
            Addition { good: servers(&[1, 2]), stay: servers(&[1, 2]), stay_after: servers(&[2]), dirty: false };
        assert_eq!(plan_for(2, &two, &[]), Plan::Add(expected));
        let mut three = members(&[Up, Up, Up]);
        three[0].leaving = true;
        assert_eq!(plan_for(2, &three, &[]), Plan::Shrink(servers(&[2, 3])), "there are enough without it");
        let mut alone = members(&[Up]);
        alone[0].leaving = true;
        let expected = Addition { good: servers(&[1]), stay: servers(&[1]), stay_after: Vec::new(), dirty: false };
        assert_eq!(plan_for(1, &alone, &[]), Plan::Add(expected));
    }

    #[test]
    fn all_leave_one_after_the_other() {
        let mut both = members(&[Up, Up]);
        both.iter_mut().for_each(|member| member.leaving = true);
        let expected =
            Addition { good: servers(&[1, 2]), stay: servers(&[1, 2]), stay_after: servers(&[2]), dirty: false };
        assert_eq!(plan_for(2, &both, &[]), Plan::Add(expected));
    }

    #[test]
    fn an_unwanted_copy_moves_like_one_that_leaves() {
        let anywhere = Placement::default();
        let two = members(&[Up, Up]);
        let unwanted = Case { unwanted: Some(server(2)), ..case(2, &two, &anywhere) };
        assert_eq!((unwanted.good_copies(), unwanted.staying_copies()), (2, 1));
        assert!(matches!(plan(unwanted), Plan::Add(addition) if addition.stay_after == servers(&[1])));
    }

    #[test]
    fn all_bad_is_not_all_lost() {
        let mut members = members(&[Up, Up, Away]);
        let bad = servers(&[1, 2]);
        assert_eq!(plan_for(2, &members, &bad), Plan::Merge(bad.clone()));
        members[1].copy = None;
        assert_eq!(plan_for(2, &members, &bad), Plan::Unavailable);
    }

    #[test]
    fn bad_copies_come_first() {
        let members = members(&[Up, Up, Lost]);
        let expected = Plan::Refresh { bad: server(2), good: servers(&[1]) };
        assert_eq!(plan_for(3, &members, &[server(2)]), expected);
        assert_eq!(plan_for(2, &members[..1], &[server(1)]), Plan::Unavailable);
    }
}
