//! `cairn fsck --repair`, and copies that are put back in the place of newer ones.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::copies::{self, CopyFile};
use cairn_tests::{pattern, run};

const SETTLE: Duration = Duration::from_secs(120);
const LEN: usize = 300_000;

fn quick(chunkservers: usize) -> Options {
    let args = ["suspect_after_ms=1500", "dead_after_ms=4000", "reconcile_after_s=1"];
    Options {
        chunkservers,
        meta_args: args.iter().flat_map(|arg| ["--set".to_owned(), (*arg).to_owned()]).collect(),
        ..Options::default()
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

/// Writes over what is there, without a truncation before: the chunk stays the same.
fn overwrite(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(bytes, 0)?;
    Ok(file.sync_all()?)
}

/// Writes by a mount of its own, after which nobody has the file open and its chunks are clean.
fn by_a_mount(cluster: &Cluster, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let mount = cluster.mount()?;
    work(mount.path())?;
    mount.unmount()?;
    cluster.wait_for_none("all chunks are clean", &["dirty"], SETTLE)
}

/// The copy of a file of one chunk on a server.
fn copy_on(cluster: &Cluster, file: &str, server: usize) -> Result<CopyFile> {
    let copies = copies::of(cluster, file)?;
    copies.into_iter().find(|copy| copy.server == server).with_context(|| format!("chunk{server} has {file}"))
}

/// A copy's file, put aside to be put back later.
struct Saved {
    original: PathBuf,
    bytes: Vec<u8>,
}

impl Saved {
    fn new(copy: &CopyFile) -> Result<Self> {
        Ok(Self { original: copy.path.clone(), bytes: std::fs::read(&copy.path)? })
    }

    fn put_back(&self) -> Result<()> {
        if let Some(dir) = self.original.parent() {
            std::fs::create_dir_all(dir)?;
        }
        Ok(std::fs::write(&self.original, &self.bytes)?)
    }
}

fn kinds(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let output = cluster.cairn(&["fsck", "--data", "--json"])?;
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let findings = found["findings"].as_array().context("fsck has findings")?;
    Ok(findings.iter().filter_map(|finding| Some(finding["kind"].as_str()?.to_owned())).collect())
}

#[test]
fn a_copy_that_comes_back_from_the_dead_is_never_read_and_is_collected() -> Result<()> {
    let mut cluster = Cluster::with(quick(3))?;
    let (old, new) = (pattern::bytes(1, LEN), pattern::bytes(2, LEN));
    by_a_mount(&cluster, |dir| write(&dir.join("f"), &old))?;
    let before = copies::of(&cluster, "/f")?;
    let dead = before[0].server;
    let saved = Saved::new(&before[0])?;
    cluster.kill_chunkserver(dead)?;
    by_a_mount(&cluster, |dir| overwrite(&dir.join("f"), &new))?;
    cluster.wait_settled(SETTLE)?;
    let after = copies::of(&cluster, "/f")?;
    ensure!(after[0].version > before[0].version && after.iter().all(|copy| copy.server != dead), "{after:?}");
    // It has what it had, of the old version, and nothing newer.
    saved.put_back()?;
    cluster.start_chunkserver(dead)?;
    // Read at once, and again and again while it comes back and is looked at.
    let mut wrong = 0;
    run::wait_until("the old copy is deleted", SETTLE, || {
        let mount = cluster.mount()?;
        wrong += usize::from(std::fs::read(mount.join("f"))? != new);
        mount.unmount()?;
        Ok(!saved.original.exists())
    })?;
    ensure!(wrong == 0, "the old copy was read");
    ensure!(copies::of(&cluster, "/f")? == after, "its place is taken");
    cluster.assert_fsck_clean()
}

#[test]
fn an_old_copy_in_the_place_of_a_member_s_is_replaced_by_itself() -> Result<()> {
    let mut cluster = Cluster::with(quick(2))?;
    let (old, new) = (pattern::bytes(1, LEN), pattern::bytes(2, LEN));
    let saved = stale(&mut cluster, &old, &new)?;
    cluster.stop_chunkserver(0)?;
    saved.put_back()?;
    cluster.start_chunkserver(0)?;
    run::wait_until("the copy is the new one", SETTLE, || Ok(copy_on(&cluster, "/stale", 0)?.bytes()? == new))?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean()
}

/// File `stale`, whose version has risen while chunk0, a member then and now, was down. Answers its copy from before.
fn stale(cluster: &mut Cluster, old: &[u8], new: &[u8]) -> Result<Saved> {
    by_a_mount(cluster, |dir| write(&dir.join("stale"), old))?;
    let saved = Saved::new(&copy_on(cluster, "/stale", 0)?)?;
    cluster.kill_chunkserver(0)?;
    by_a_mount(cluster, |dir| overwrite(&dir.join("stale"), new))?;
    cluster.start_chunkserver(0)?;
    cluster.wait_healthy()?;
    cluster.wait_settled(SETTLE)?;
    Ok(saved)
}

#[test]
fn fsck_repairs_what_is_wrong_with_copies() -> Result<()> {
    let mut cluster = Cluster::with(quick(2))?;
    let (old, new) = (pattern::bytes(1, LEN), pattern::bytes(2, LEN));
    let old_stale = stale(&mut cluster, &old, &new)?;
    by_a_mount(&cluster, |dir| {
        ["missing", "damaged"].iter().try_for_each(|name| write(&dir.join(name), &new))?;
        write(&dir.join("short"), &new[..LEN / 2])?;
        write(&dir.join("diverged"), &old)
    })?;
    let (short, diverged) = (copy_on(&cluster, "/short", 0)?, copy_on(&cluster, "/diverged", 0)?);
    let (old_short, old_diverged) = (Saved::new(&short)?, Saved::new(&diverged)?);
    by_a_mount(&cluster, |dir| {
        overwrite(&dir.join("short"), &new)?;
        overwrite(&dir.join("diverged"), &new)
    })?;
    cluster.wait_settled(SETTLE)?;
    cluster.assert_fsck_clean()?;
    let (missing, damaged) = (copy_on(&cluster, "/missing", 0)?, copy_on(&cluster, "/damaged", 0)?);
    ensure!(cluster.cairn(&["repair", "pause"])?.status.success());
    cluster.stop_chunkserver(0)?;
    [old_stale, old_short, old_diverged].iter().try_for_each(Saved::put_back)?;
    std::fs::remove_file(&missing.path)?;
    damaged.flip(5000)?;
    cluster.start_chunkserver(0)?;
    cluster.wait_healthy()?;

    let expected = ["damaged-replica", "diverged", "missing-replica", "short-replica", "stale-replica"];
    let found = kinds(&cluster)?;
    ensure!(found.iter().eq(expected.iter()), "{found:?}");
    ensure!(cluster.cairn(&["repair", "resume"])?.status.success());
    let output = cluster.cairn(&["fsck", "--data", "--repair"])?;
    let said = run::printed(&output);
    ensure!(
        output.status.code() == Some(0) && said.contains("repaired: diverged") && said.contains(" 0 left"),
        "{said}"
    );
    cluster.assert_fsck_clean()?;
    for name in ["stale", "missing", "damaged", "short", "diverged"] {
        for copy in copies::of(&cluster, &format!("/{name}"))? {
            ensure!(copy.bytes()? == new, "{name}: {copy:?}");
        }
    }
    Ok(())
}

#[test]
fn fsck_brings_metadata_that_were_set_back_up_to_their_copies() -> Result<()> {
    let mut cluster = Cluster::with(quick(2))?;
    let (old, new) = (pattern::bytes(1, LEN), pattern::bytes(2, LEN));
    by_a_mount(&cluster, |dir| write(&dir.join("f"), &old))?;
    cluster.stop_meta()?;
    let (now, before) = (cluster.meta_dir(), cluster.dir().join("meta-before"));
    run::shell(cluster.dir(), &format!("cp -a {} {}", now.display(), before.display()))?;
    cluster.start_meta()?;
    cluster.wait_healthy()?;
    cluster.kill_chunkserver(0)?;
    by_a_mount(&cluster, |dir| overwrite(&dir.join("f"), &new))?;
    cluster.stop_meta()?;
    run::shell(cluster.dir(), &format!("rm -r {0} && mv {1} {0}", now.display(), before.display()))?;
    cluster.start_meta()?;
    cluster.start_chunkserver(0)?;
    cluster.wait_healthy()?;
    ensure!(kinds(&cluster)?.contains("version-ahead"), "{:?}", kinds(&cluster)?);
    let output = cluster.cairn(&["fsck", "--repair"])?;
    ensure!(output.status.success(), "{}", run::printed(&output));
    cluster.assert_fsck_clean()?;
    let mount = cluster.mount()?;
    ensure!(std::fs::read(mount.join("f"))? == new, "what was written last counts");
    mount.unmount()
}

#[test]
fn what_cannot_be_repaired_is_left_and_says_what_to_do() -> Result<()> {
    let mut cluster = Cluster::with(Options { copies: 1, ..quick(2) })?;
    by_a_mount(&cluster, |dir| write(&dir.join("f"), &pattern::bytes(1, LEN)))?;
    let copy = copies::of(&cluster, "/f")?.remove(0);
    cluster.stop_chunkserver(copy.server)?;
    let output = cluster.cairn(&["fsck", "--repair"])?;
    let said = run::printed(&output);
    ensure!(output.status.code() == Some(1), "{said}");
    ensure!(said.contains("unreachable-replica") && said.contains("bring that server back"), "{said}");
    ensure!(said.contains("0 repaired, 1 left"), "{said}");
    let output = cluster.cairn(&["fsck", "--repair", "--json"])?;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(output.status.code() == Some(1) && json["findings"][0]["repaired"] == false, "{json}");
    cluster.start_chunkserver(copy.server)?;
    cluster.wait_healthy()?;
    ensure!(cluster.cairn(&["fsck", "--repair"])?.status.success());
    Ok(())
}
