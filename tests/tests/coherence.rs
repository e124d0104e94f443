//! Two mounts on two machines behave as two processes on one: what a call has done is what the other mounts see when it has returned.
//!
//! Each scenario runs in a local directory first, then with one mount as both sides, to show that it asks for what one machine does;
//! then on two mounts, ten thousand times (`CAIRN_PAIRS`), with no sleep anywhere; and as often on three mounts, all in turn.

use std::time::Duration;

use anyhow::{Context, Result};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::pairs::{Scenario, attributes, bytes, everywhere, in_lanes, names, pairs};

/// The kernel answers a lookup of a directory that others have moved, and that is in use here, with `ESTALE` if another rename between two
/// directories is under way on the mount (`d_splice_alias` does not wait for it; see docs/semantics.md). So nothing else goes on there.
/// In a round one is moved, one is made, and one is removed.
const DIRECTORIES_MOVED: Scenario = Scenario::alone(names::directories_moved).with_pairs(3);
/// Moved, exchanged, moved over another, moved back.
const MOVED: Scenario = Scenario::spread(names::moved).with_pairs(4);
/// A symbolic link is replaced; a file is linked and unlinked.
const LINKED: Scenario = Scenario::spread(names::linked).with_pairs(3);

#[test]
fn create_and_lookup() -> Result<()> {
    everywhere(Scenario::spread(names::made_and_removed))
}

#[test]
fn unlink_and_open() -> Result<()> {
    everywhere(Scenario::spread(names::removed_while_open))
}

#[test]
fn mkdir_and_readdir() -> Result<()> {
    everywhere(Scenario::spread(names::listed))
}

#[test]
fn rename_and_stat() -> Result<()> {
    everywhere(MOVED)
}

#[test]
fn rename_and_lookup_of_directories() -> Result<()> {
    everywhere(DIRECTORIES_MOVED)
}

#[test]
fn links_and_their_targets() -> Result<()> {
    everywhere(LINKED)
}

#[test]
fn write_and_read() -> Result<()> {
    everywhere(Scenario::spread(bytes::written))
}

#[test]
fn append_and_append() -> Result<()> {
    everywhere(Scenario::spread(bytes::appended))
}

#[test]
fn truncate_and_read() -> Result<()> {
    everywhere(Scenario::spread(bytes::cut_and_grown))
}

#[test]
fn mmap_and_write() -> Result<()> {
    everywhere(Scenario::spread(bytes::mapped))
}

#[test]
fn setattr_and_getattr() -> Result<()> {
    everywhere(Scenario::spread(attributes::set))
}

#[test]
fn setxattr_and_getxattr() -> Result<()> {
    everywhere(Scenario::spread(attributes::extended))
}

#[test]
fn all_of_it_on_three_mounts() -> Result<()> {
    let scenarios: [(&str, Scenario); 12] = [
        ("made_and_removed", Scenario::spread(names::made_and_removed)),
        ("removed_while_open", Scenario::spread(names::removed_while_open)),
        ("listed", Scenario::spread(names::listed)),
        ("moved", MOVED),
        ("directories_moved", DIRECTORIES_MOVED),
        ("linked", LINKED),
        ("written", Scenario::spread(bytes::written)),
        ("appended", Scenario::spread(bytes::appended)),
        ("cut_and_grown", Scenario::spread(bytes::cut_and_grown)),
        ("mapped", Scenario::spread(bytes::mapped)),
        ("set", Scenario::spread(attributes::set)),
        ("extended", Scenario::spread(attributes::extended)),
    ];
    let limit = Duration::from_secs(40 * 60);
    let cluster = Cluster::with(Options { limit, ..Options::default() })?;
    let mounts = [cluster.mount()?, cluster.mount()?, cluster.mount()?];
    let roots = mounts.each_ref().map(|mount| mount.path());
    for (name, scenario) in scenarios {
        in_lanes(&[&roots], name, scenario, pairs()).context("on three mounts")?;
    }
    mounts.into_iter().try_for_each(|mount| mount.unmount())?;
    cluster.assert_fsck_clean()
}
