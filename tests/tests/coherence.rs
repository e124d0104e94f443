//! Two mounts on two machines behave as two processes on one: what a call has done is what the other mounts see when it has returned.
//!
//! Each scenario runs in a local directory first, then with one mount as both sides, to show that it asks for what one machine does;
//! then on two mounts, ten thousand times (`CAIRN_PAIR_ROUNDS`), with no sleep anywhere; and as often on three mounts.

use anyhow::{Context, Result};
use cairn_tests::cluster::Cluster;
use cairn_tests::pairs::{Scenario, attributes, bytes, everywhere, in_lanes, names};

#[test]
fn create_and_lookup() -> Result<()> {
    everywhere(names::made_and_removed)
}

#[test]
fn unlink_and_open() -> Result<()> {
    everywhere(names::removed_while_open)
}

#[test]
fn mkdir_and_readdir() -> Result<()> {
    everywhere(names::listed)
}

#[test]
fn rename_and_stat() -> Result<()> {
    everywhere(names::moved)
}

#[test]
fn rename_and_lookup_of_directories() -> Result<()> {
    everywhere(names::directories_moved)
}

#[test]
fn links_and_their_targets() -> Result<()> {
    everywhere(names::linked)
}

#[test]
fn write_and_read() -> Result<()> {
    everywhere(bytes::written)
}

#[test]
fn append_and_append() -> Result<()> {
    everywhere(bytes::appended)
}

#[test]
fn truncate_and_read() -> Result<()> {
    everywhere(bytes::cut_and_grown)
}

#[test]
fn mmap_and_write() -> Result<()> {
    everywhere(bytes::mapped)
}

#[test]
fn setattr_and_getattr() -> Result<()> {
    everywhere(attributes::set)
}

#[test]
fn setxattr_and_getxattr() -> Result<()> {
    everywhere(attributes::extended)
}

#[test]
fn all_of_it_on_three_mounts() -> Result<()> {
    let scenarios: [(&str, Scenario); 12] = [
        ("made_and_removed", names::made_and_removed),
        ("removed_while_open", names::removed_while_open),
        ("listed", names::listed),
        ("moved", names::moved),
        ("directories_moved", names::directories_moved),
        ("linked", names::linked),
        ("written", bytes::written),
        ("appended", bytes::appended),
        ("cut_and_grown", bytes::cut_and_grown),
        ("mapped", bytes::mapped),
        ("set", attributes::set),
        ("extended", attributes::extended),
    ];
    let cluster = Cluster::start()?;
    let mounts = [cluster.mount()?, cluster.mount()?, cluster.mount()?];
    let roots = mounts.each_ref().map(|mount| mount.path());
    for (name, scenario) in scenarios {
        in_lanes(&roots, name, scenario).context("on three mounts")?;
    }
    mounts.into_iter().try_for_each(|mount| mount.unmount())?;
    cluster.assert_fsck_clean()
}
