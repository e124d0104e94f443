//! From a path that the user typed to a metaserver and an inode.

use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use cairn_proto::ids::InodeId;
use cairn_proto::name::Name;
use cairn_proto::transport::Endpoint;

use crate::admin::Admin;
use crate::mountinfo::{self, MountEntry};

/// A metaserver and an inode on it.
#[derive(Debug)]
pub struct Target {
    pub admin: Admin,
    pub inode: InodeId,
    /// As the user typed it, for messages.
    pub path: PathBuf,
}

impl Target {
    /// With `meta`, `path` counts from the root of the file system; without, it lies on a mount.
    pub async fn find(path: &Path, meta: Option<Endpoint>) -> Result<Self> {
        match meta {
            Some(endpoint) => {
                let admin = Admin::connect(endpoint).await?;
                let names = names(path)?;
                let what = format!("{}", path.display());
                let inode =
                    admin.call(&what, |client, context| async move { client.resolve(context, names).await }).await?;
                Ok(Self { admin, inode, path: path.to_owned() })
            }
            None => {
                let metadata = std::fs::symlink_metadata(path).with_context(|| format!("{}", path.display()))?;
                let mount = mount_of(path)?;
                let admin = Admin::connect(mount.endpoint).await?;
                Ok(Self { admin, inode: InodeId(metadata.ino()), path: path.to_owned() })
            }
        }
    }
}

/// The metaserver that a command without a path means.
pub fn metaserver(meta: Option<Endpoint>) -> Result<Endpoint> {
    if let Some(endpoint) = meta {
        return Ok(endpoint);
    }
    let mut endpoints: Vec<Endpoint> = mountinfo::read()?.into_iter().map(|m| m.endpoint).collect();
    endpoints.sort();
    endpoints.dedup();
    match endpoints.as_slice() {
        [one] => Ok(one.clone()),
        [] => bail!("no CairnFS is mounted here: say which metaserver with --meta HOST:PORT"),
        several => bail!(
            "several file systems are mounted here ({}): say which with --meta HOST:PORT",
            several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The metaserver that is meant by `place`: itself, or a path on a mount of it.
pub fn metaserver_at(place: &Path) -> Result<Endpoint> {
    match place.to_str().map(str::parse) {
        Some(Ok(endpoint)) => Ok(endpoint),
        Some(Err(_)) | None => Ok(mount_of(place)?.endpoint),
    }
}

/// The metaserver that is meant by a path, and the path from the root of the file system: what it leads to need not be there, as little as the
/// directories on the way.
pub fn names_of(path: &Path, meta: Option<Endpoint>) -> Result<(Endpoint, Vec<Name>)> {
    if let Some(endpoint) = meta {
        return Ok((endpoint, names(path)?));
    }
    let shown = || path.display().to_string();
    let whole = std::path::absolute(path).with_context(shown)?;
    // The last component may be a symlink, which is then meant itself; `..` is left to the kernel, where there is what it leads to.
    let mut above = whole.as_path();
    let mut behind = Vec::new();
    let real = loop {
        let Some(parent) = above.parent() else { break above.to_owned() };
        match above.components().next_back() {
            Some(Component::Normal(name)) => behind.push(name),
            _ if behind.is_empty() => break above.canonicalize().with_context(shown)?,
            _ => bail!("{}: `..` behind something that is not there", path.display()),
        }
        above = parent;
        if let Ok(real) = above.canonicalize() {
            break real;
        }
    };
    let real: PathBuf = std::iter::once(real.as_os_str()).chain(behind.into_iter().rev()).collect();
    let mount = mountinfo::holding(&mountinfo::read()?, &real).with_context(|| {
        format!("{} is not on a CairnFS mount: mount it first, or give --meta HOST:PORT", path.display())
    })?;
    let from_root = real.strip_prefix(&mount.mountpoint).unwrap_or(&real);
    Ok((mount.endpoint, names(from_root)?))
}

fn mount_of(path: &Path) -> Result<MountEntry> {
    // The last component may be a symlink, which is then meant itself.
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut real = parent.canonicalize().with_context(|| format!("{}", parent.display()))?;
    match path.components().next_back() {
        Some(Component::Normal(name)) => real.push(name),
        _ => real = path.canonicalize().with_context(|| format!("{}", path.display()))?,
    }
    mountinfo::holding(&mountinfo::read()?, &real).with_context(|| {
        format!("{} is not on a CairnFS mount: mount it first, or give --meta HOST:PORT", path.display())
    })
}

fn names(path: &Path) -> Result<Vec<Name>> {
    path.components()
        .filter_map(|component| match component {
            Component::RootDir | Component::CurDir => None,
            Component::Normal(name) => Some(Name::from_os(name).map_err(anyhow::Error::from)),
            Component::ParentDir | Component::Prefix(_) => {
                Some(Err(anyhow::anyhow!("`..` has no meaning with --meta")))
            }
        })
        .collect::<Result<_>>()
        .with_context(|| format!("{}", path.display()))
}
