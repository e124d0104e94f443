//! All data directories of a server.
//!
//! Each says in its `identity` which disks the server has. So a start knows what is missing, and goes on without it: an empty or missing
//! directory where a disk was is that disk, failed (most likely it is not mounted), and never a new one. Any other empty directory is a new
//! disk. A disk whose directory is not given any more is forgotten.

use std::path::{Path, PathBuf};

use cairn_proto::ids::{ClusterId, DiskId, ServerId};
use parking_lot::Mutex;

use super::candidate::{Candidate, Locked};
use super::identity::{Identity, Member};
use super::{DataDirError, io_error};
use crate::store::layout::Layout;

/// The directories, locked for this process.
#[derive(Debug)]
pub struct DataDirs {
    server: ServerId,
    dirs: Vec<DiskDir>,
    known: Mutex<Known>,
}

/// One disk's directory.
#[derive(Debug)]
pub struct DiskDir {
    pub disk: DiskId,
    pub layout: Layout,
    /// The server's generation when it was used last: lower than the server's of one that was out.
    pub generation: u32,
    /// Why it is not used.
    pub failed: Option<String>,
    _lock: Option<Locked>,
}

/// What the identities say, apart from whose they are.
#[derive(Debug)]
struct Known {
    cluster: Option<ClusterId>,
    /// In the order of the directories.
    members: Vec<Member>,
    /// Those whose identity is kept up to date.
    works: Vec<bool>,
}

/// What is there, before it is decided what becomes of it.
struct Found<'a> {
    path: &'a Path,
    candidate: Candidate,
}

impl DataDirs {
    /// Opens the directories of a server, or makes a new server where all of them are empty or missing.
    pub fn open(roots: &[PathBuf]) -> Result<Self, DataDirError> {
        let roots = distinct(roots)?;
        let look = |path| Candidate::look(path).map(|candidate| Found { path, candidate });
        let found = roots.iter().map(|root| look(root)).collect::<Result<Vec<_>, _>>()?;
        let Some(whole) = agreed(&found)? else { return Self::make(found) };
        let (server, cluster, known) = (whole.server, whole.cluster, whole.disks);
        let generation = known.iter().map(|member| member.generation).max().unwrap_or(0);
        let is_there = |member: &&Member| path_of(&found, member.disk).is_some();
        let missing: Vec<Member> = known.iter().filter(|member| !is_there(member)).cloned().collect();
        let mut dirs = Vec::new();
        for Found { path, candidate } in found {
            dirs.push(decide(path, candidate, &missing, generation)?);
        }
        for member in known.iter().filter(|member| !dirs.iter().any(|dir| dir.disk == member.disk)) {
            tracing::warn!(disk = %member.disk, path = member.path, "a disk is not among the data directories any more: what was on it is lost to this server");
        }
        let was_used = |member: &&Member| member.generation == generation;
        let is_out = |member: &Member| !dirs.iter().any(|dir| dir.disk == member.disk && dir.failed.is_none());
        let is_news = known.iter().filter(was_used).any(is_out);
        let generation = generation + u32::from(is_news);
        let members = dirs.iter().map(|dir| Member {
            disk: dir.disk,
            path: dir.layout.root().display().to_string(),
            generation: if dir.failed.is_none() { generation } else { dir.generation },
        });
        let works = dirs.iter().map(|dir| dir.failed.is_none()).collect();
        let known = Mutex::new(Known { cluster, members: members.collect(), works });
        let mut opened = Self { server, dirs, known };
        for number in opened.store_at_start()? {
            opened.gone(number);
        }
        Ok(opened)
    }

    /// A new server.
    fn make(found: Vec<Found<'_>>) -> Result<Self, DataDirError> {
        let (server, is_one) = (ServerId::random(), found.len() == 1);
        let mut dirs = Vec::new();
        let (unusable, rest): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|found| matches!(found.candidate, Candidate::Unusable(_)));
        if let Some(Found { candidate: Candidate::Unusable(error), .. }) = unusable.into_iter().next() {
            return Err(error);
        }
        for Found { path, candidate } in rest {
            let locked = match candidate {
                Candidate::Empty(locked) => locked,
                Candidate::Absent => Locked::make(path)?,
                // There would be a server then, and they are gone.
                Candidate::Used(..) | Candidate::Unusable(_) => continue,
            };
            let disk = if is_one { DiskId(server.0) } else { DiskId::random() };
            dirs.push(DiskDir::used(disk, locked, 0));
        }
        let member =
            |dir: &DiskDir| Member { disk: dir.disk, path: dir.layout.root().display().to_string(), generation: 0 };
        let members: Vec<Member> = dirs.iter().map(member).collect();
        let known = Known { cluster: None, works: vec![true; members.len()], members };
        let mut made = Self { server, dirs, known: Mutex::new(known) };
        made.store_at_start()?;
        Ok(made)
    }

    /// Writes what has changed. Answers those that did not take it.
    fn store_at_start(&mut self) -> Result<Vec<usize>, DataDirError> {
        self.store_new()?;
        let mut failed = Vec::new();
        let known = self.known.get_mut();
        for (n, dir) in self.dirs.iter_mut().enumerate() {
            if !known.works[n] {
                continue;
            }
            let (server, cluster, disks) = (self.server, known.cluster, known.members.clone());
            let (identity, path) = (Identity { server, cluster, disk: dir.disk, disks }, dir.layout.identity());
            let is_so = std::fs::read(&path).is_ok_and(|bytes| identity.encode().is_ok_and(|new| new == bytes));
            if !is_so && let Err(error) = identity.store(&path) {
                known.works[n] = false;
                dir.failed = Some(error.in_words());
                failed.push(n);
            }
        }
        match self.dirs.iter().find_map(|dir| dir.failed.clone().map(|why| (dir, why))) {
            Some((dir, why)) if !known.works.contains(&true) => {
                Err(DataDirError::NoneUsable { count: self.dirs.len(), path: dir.layout.root().to_owned(), why })
            }
            _ => Ok(failed),
        }
    }

    /// Makes the identities of new disks. None of them speaks of another new one: so a crash on the way leaves none that is expected and was
    /// never there.
    fn store_new(&self) -> Result<(), DataDirError> {
        let known = self.known.lock();
        let is_new = |dir: &&DiskDir| dir.failed.is_none() && !dir.layout.identity().exists();
        let new: Vec<&DiskDir> = self.dirs.iter().filter(is_new).collect();
        new.iter().try_for_each(|dir| {
            let mut identity = self.identity(dir, &known);
            identity
                .disks
                .retain(|member| member.disk == dir.disk || !new.iter().any(|other| other.disk == member.disk));
            identity.store(&dir.layout.identity())
        })
    }

    pub fn dirs(&self) -> &[DiskDir] {
        &self.dirs
    }

    pub fn server(&self) -> ServerId {
        self.server
    }

    /// `None` before the first registration.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.known.lock().cluster
    }

    /// Higher than at the start before where a disk has gone out of use since.
    pub fn generation(&self) -> u32 {
        self.known.lock().generation()
    }

    /// Makes the server a part of `cluster`, durably and for good. A disk that does not take it is none that is in use for long.
    pub fn join(&self, cluster: ClusterId) -> Result<(), DataDirError> {
        let mut known = self.known.lock();
        match known.cluster {
            Some(theirs) if theirs == cluster => return Ok(()),
            Some(theirs) => {
                let path = self.dirs[0].layout.root().to_owned();
                return Err(DataDirError::OtherCluster { path, ours: cluster, theirs });
            }
            None => known.cluster = Some(cluster),
        }
        let stored = self.store(&known);
        if stored.is_err() {
            known.cluster = None;
        }
        stored
    }

    /// A disk is not used any more. The others remember.
    pub fn gone(&self, number: usize) {
        let mut known = self.known.lock();
        let generation = known.generation() + 1;
        let Some(works) = known.works.get_mut(number) else { return };
        *works = false;
        let Known { members, works, .. } = &mut *known;
        // Without another one it is tried on this one: what was written and not synced before must not count as kept.
        let is_last = !works.contains(&true);
        let told = |n: usize| works[n] || is_last && n == number;
        members.iter_mut().enumerate().filter(|(n, _)| told(*n)).for_each(|(_, m)| m.generation = generation);
        let stored = match is_last {
            true => self.identity(&self.dirs[number], &known).store(&self.dirs[number].layout.identity()),
            false => self.store(&known),
        };
        if let Err(error) = stored {
            tracing::warn!(error = error.in_words(), "cannot write down that a disk has failed");
        }
    }

    /// Writes all identities. Fails where none could be written.
    fn store(&self, known: &Known) -> Result<(), DataDirError> {
        let mut result = Err(io_error(self.dirs[0].layout.root(), "use it")(std::io::ErrorKind::NotFound.into()));
        for (dir, _) in self.dirs.iter().zip(&known.works).filter(|(_, works)| **works) {
            match (self.identity(dir, known).store(&dir.layout.identity()), &result) {
                (Err(error), Ok(())) => tracing::warn!(error = error.in_words(), "cannot write an identity"),
                (stored, _) => result = stored,
            }
        }
        result
    }

    fn identity(&self, dir: &DiskDir, known: &Known) -> Identity {
        Identity { server: self.server, cluster: known.cluster, disk: dir.disk, disks: known.members.clone() }
    }
}

impl Known {
    fn generation(&self) -> u32 {
        self.members.iter().map(|member| member.generation).max().unwrap_or(0)
    }
}

impl DiskDir {
    fn used(disk: DiskId, locked: Locked, generation: u32) -> Self {
        Self { disk, layout: locked.layout.clone(), generation, failed: None, _lock: Some(locked) }
    }
}

/// Absolute paths, none of them of the same directory as another one.
fn distinct(roots: &[PathBuf]) -> Result<Vec<PathBuf>, DataDirError> {
    let mut all: Vec<(PathBuf, PathBuf)> = Vec::new();
    for root in roots {
        let path = std::path::absolute(root).map_err(io_error(root, "find it"))?;
        let real = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if let Some((_, other)) = all.iter().find(|(there, _)| *there == real) {
            return Err(DataDirError::Twice { path, other: other.clone() });
        }
        all.push((real, path));
    }
    Ok(all.into_iter().map(|(_, path)| path).collect())
}

/// What all identities together say; `None` where there are none. Of each disk it is said what is known of its last use.
fn agreed(found: &[Found<'_>]) -> Result<Option<Identity>, DataDirError> {
    let used = || {
        found.iter().filter_map(|found| match &found.candidate {
            Candidate::Used(_, identity) => Some((found.path, identity)),
            Candidate::Empty(_) | Candidate::Absent | Candidate::Unusable(_) => None,
        })
    };
    let Some((first, one)) = used().next() else { return Ok(None) };
    let mut ours = one.clone();
    for (n, (path, identity)) in used().enumerate().skip(1) {
        check_belongs(path, identity, first, &ours)?;
        if let Some((other, _)) = used().take(n).find(|(_, other)| other.disk == identity.disk) {
            let (path, other) = (path.to_owned(), other.to_owned());
            return Err(DataDirError::Copied { path, other, disk: identity.disk });
        }
        ours.cluster = ours.cluster.or(identity.cluster);
        for member in &identity.disks {
            match ours.disks.iter_mut().find(|known| known.disk == member.disk) {
                Some(known) if known.generation < member.generation => *known = member.clone(),
                Some(_) => {}
                None => ours.disks.push(member.clone()),
            }
        }
    }
    Ok(Some(ours))
}

/// Turns down a directory of another server, or cluster, than the `first` one.
fn check_belongs(path: &Path, identity: &Identity, first: &Path, ours: &Identity) -> Result<(), DataDirError> {
    let (path, other) = (path.to_owned(), first.to_owned());
    if identity.server != ours.server {
        return Err(DataDirError::OtherServer { path, theirs: identity.server, other, ours: ours.server });
    }
    match (identity.cluster, ours.cluster) {
        (Some(theirs), Some(ours)) if theirs != ours => Err(DataDirError::TwoClusters { path, theirs, other, ours }),
        _ => Ok(()),
    }
}

fn path_of<'a>(found: &[Found<'a>], disk: DiskId) -> Option<&'a Path> {
    let is_it = |found: &&Found<'a>| matches!(&found.candidate, Candidate::Used(_, identity) if identity.disk == disk);
    found.iter().find(is_it).map(|found| found.path)
}

/// What becomes of a directory of a server whose disks are `known`.
fn decide(path: &Path, candidate: Candidate, known: &[Member], generation: u32) -> Result<DiskDir, DataDirError> {
    let was_here = known.iter().find(|member| Path::new(&member.path) == path);
    let failed = |member: &Member, why: String| DiskDir {
        disk: member.disk,
        layout: Layout::new(path),
        generation: member.generation,
        failed: Some(why),
        _lock: None,
    };
    let new = |locked| DiskDir::used(DiskId::random(), locked, generation);
    Ok(match (candidate, was_here) {
        (Candidate::Used(locked, identity), _) => DiskDir::used(identity.disk, locked, identity.generation()),
        (Candidate::Unusable(error), Some(member)) => failed(member, error.in_words()),
        (Candidate::Unusable(error), None) => return Err(error),
        (Candidate::Absent, Some(member)) => failed(member, "the directory is gone: is its disk mounted?".into()),
        (Candidate::Empty(_), Some(member)) => {
            let why = "the directory is empty: is its disk mounted? Where it was replaced, give the new one's directory another name";
            failed(member, why.into())
        }
        (Candidate::Absent, None) => new(Locked::make(path)?),
        (Candidate::Empty(locked), None) => new(locked),
    })
}
