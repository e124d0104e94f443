//! Changing what a directory asks for its files, and for all below it.

use cairn_proto::admin::{PolicyInfo, PolicySet};
use cairn_proto::attr::FileKind;
use cairn_proto::error::{AdminError, FsError};
use cairn_proto::ids::{DirCookie, InodeId};
use cairn_proto::labels::Domain;
use cairn_proto::meta::{MAX_DIR_PAGE, Mutation, ReadDir};
use cairn_proto::policy::{Placement, PlacementId, Policy, PolicyChange, Retention};
use futures::future::try_join_all;

use super::Shared;
use crate::cluster::placement::roster::Roster;
use crate::command::{Body, Command, Decided, Internal};
use crate::namespace::{Reply, query};

/// Entries whose policy is changed at the same time.
const POLICY_BATCH: usize = 256;

/// Does it, or refuses what the servers cannot give.
pub(super) async fn set(
    shared: &Shared,
    inode: InodeId,
    set: PolicySet,
    recursive: bool,
) -> Result<PolicyInfo, AdminError> {
    let PolicySet { copies, durability, spread, on, loose, retention } = set;
    let before = shared.state.read(|read| query::policy_of(read, inode))?;
    let known = shared.cluster.placement(before.placement)?;
    let places_change = spread.is_some() || on.is_some() || loose.is_some();
    let placement = Placement {
        spread: spread.unwrap_or(known.spread),
        on: on.unwrap_or(known.on),
        loose: loose.unwrap_or(known.loose),
    };
    if places_change || copies.is_some() {
        let expected = shared.cluster.registry.expected(shared.cluster.now());
        check(&expected, copies.unwrap_or(before.copies), &placement)?;
    }
    let id = if places_change { Some(define(shared, &placement).await?) } else { None };
    let change = PolicyChange { copies, durability, placement: id };
    let set = Set { change, retention };
    set.apply(shared, inode).await?;
    if recursive {
        set.apply_below(shared, inode).await?;
    }
    let found = shared.state.read(|read| query::get_inode(read, inode))?;
    Ok(PolicyInfo { policy: found.policy, placement, retention: found.is_directory().then_some(found.retention) })
}

/// Whether the servers allow so many copies where they are asked to be.
fn check(servers: &Roster, copies: u8, placement: &Placement) -> Result<(), AdminError> {
    if placement.loose {
        return Ok(());
    }
    let domains = servers.domains(placement);
    if domains.of(Domain::Host) == 0 && !placement.on.is_empty() {
        return Err(AdminError::NoSuchServers(placement.on.clone()));
    }
    for domain in [Some(Domain::Host), placement.spread].into_iter().flatten() {
        let there_are = domains.of(domain);
        if there_are < usize::from(copies) {
            return Err(AdminError::TooFewDomains { copies, domain, there_are: there_are as u32 });
        }
    }
    Ok(())
}

async fn define(shared: &Shared, placement: &Placement) -> Result<PlacementId, FsError> {
    match shared.state.internal(Internal::DefinePlacement { placement: placement.clone() }).await? {
        Reply::Placement(id) => Ok(id),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(reply: &Reply) -> FsError {
    tracing::error!(?reply, "a change of policy was answered by something else");
    FsError::Storage
}

/// What is set.
#[derive(Clone, Copy)]
struct Set {
    change: PolicyChange,
    retention: Option<Retention>,
}

impl Set {
    /// For one inode.
    async fn apply(self, shared: &Shared, inode: InodeId) -> Result<(), FsError> {
        // First: it is refused for what is no directory.
        if let Some(retention) = self.retention {
            shared.set_retention(inode, retention).await?;
        }
        self.apply_to_file(shared, inode).await
    }

    /// What there is to set of a file.
    async fn apply_to_file(self, shared: &Shared, inode: InodeId) -> Result<(), FsError> {
        if self.change == PolicyChange::default() {
            return Ok(());
        }
        shared.set_policy(inode, self.change).await.map(drop)
    }

    /// Changes the policy of everything below a directory, as it is found: what is created meanwhile inherits the new one.
    async fn apply_below(self, shared: &Shared, top: InodeId) -> Result<(), FsError> {
        let mut directories = vec![top];
        while let Some(inode) = directories.pop() {
            let mut after = DirCookie::START;
            loop {
                let request = ReadDir { inode, after, limit: MAX_DIR_PAGE, plus: false };
                let page = match shared.state.read(|read| query::read_dir(read, request)) {
                    Ok(page) => page,
                    // A file, or a directory that was removed meanwhile.
                    Err(FsError::NotDirectory | FsError::Stale(_)) => break,
                    Err(error) => return Err(error),
                };
                let of_kind = |kind| page.entries.iter().filter(move |entry| entry.kind == kind).map(|e| e.inode);
                directories.extend(of_kind(FileKind::Directory));
                let below = async |inode, is_directory| {
                    let done = if is_directory {
                        self.apply(shared, inode).await
                    } else {
                        self.apply_to_file(shared, inode).await
                    };
                    unless_gone(done)
                };
                let all: Vec<_> = of_kind(FileKind::Directory)
                    .map(|inode| (inode, true))
                    .chain(of_kind(FileKind::File).map(|inode| (inode, false)))
                    .collect();
                for some in all.chunks(POLICY_BATCH) {
                    try_join_all(some.iter().map(|&(inode, is_directory)| below(inode, is_directory))).await?;
                }
                match page.entries.last() {
                    Some(last) if !page.end => after = last.cookie,
                    _ => break,
                }
            }
        }
        Ok(())
    }
}

fn unless_gone(result: Result<(), FsError>) -> Result<(), FsError> {
    if matches!(result, Err(FsError::Stale(_))) { Ok(()) } else { result }
}

impl Shared {
    async fn set_policy(&self, inode: InodeId, change: PolicyChange) -> Result<Policy, FsError> {
        let propose = || {
            let mutation = Mutation::SetPolicy { inode, change };
            let body = Body::Mutation { mutation, decided: Decided::Nothing };
            self.state.propose(Command { origin: None, at: self.state.wall(), body })
        };
        match self.clients.recalling_to_the_end(propose).await? {
            Reply::Policy(policy) => Ok(policy),
            other => Err(unexpected(&other)),
        }
    }

    async fn set_retention(&self, inode: InodeId, retention: Retention) -> Result<(), FsError> {
        let propose = || self.state.internal(Internal::SetRetention { inode, retention });
        self.clients.recalling_to_the_end(propose).await.map(drop)
    }
}
