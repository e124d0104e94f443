//! Whom a mount reads from: the nearest chunkserver, and another one at once where that one does not answer.
//!
//! All of it is told by what was asked of whom, as client and chunkservers have counted it, and not by the time that it took.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::mount::Mount;
use cairn_tests::stopped::Stopped;
use cairn_tests::{pattern, run};
use serde_json::Value;

const SETTLE: Duration = Duration::from_secs(60);

const BLOCK: usize = 4096;
const BLOCKS: usize = 4096;

/// Reads in a row that a server must leave unanswered before it is asked no more: `BreakerLimits::overtaken` of the client.
const OVERTAKEN: u64 = 3;

/// Three chunkservers in three racks, and a file that all of them have.
fn three_racks() -> Result<Cluster> {
    let labels = vec![vec!["rack=r0"], vec!["rack=r1"], vec!["rack=r2"]];
    let cluster = Cluster::with(Options { chunkservers: 3, copies: 3, labels, ..Options::default() })?;
    let mount = cluster.mount()?;
    std::fs::write(mount.join("file"), contents())?;
    mount.unmount()?;
    cluster.wait_settled(SETTLE)?;
    Ok(cluster)
}

fn contents() -> Vec<u8> {
    pattern::bytes(8, BLOCK * BLOCKS)
}

/// A mount in a rack that reads the file block by block, none of them twice and none after its neighbour.
struct Reader<'a> {
    cluster: &'a Cluster,
    mount: Mount,
    file: File,
    contents: Vec<u8>,
    read: usize,
}

/// What a client has counted.
#[derive(Debug)]
struct Counts {
    /// Of each chunkserver.
    asked: Vec<u64>,
    /// What else there is.
    stats: Value,
}

impl<'a> Reader<'a> {
    fn new(cluster: &'a Cluster, options: &str) -> Result<Self> {
        let mount = cluster.mount_with(&format!("{options},health_listen=127.0.0.1:0"))?;
        let file = File::open(mount.join("file"))?;
        let mut reader = Self { cluster, mount, file, contents: contents(), read: 0 };
        reader.read_blocks(1)?;
        run::wait_until("the mount knows where the chunkservers stand", SETTLE, || {
            let stats = reader.mount.daemon().stats()?;
            let servers = stats["servers"].as_array().context("servers")?;
            let near = servers.iter().filter(|server| server["distance"] == "rack").count();
            Ok(servers.len() == 3 && servers.iter().all(|server| server["labels_known"] == true) && near == 1)
        })?;
        Ok(reader)
    }

    fn read_blocks(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let at = (self.read * 131) % BLOCKS * BLOCK;
            self.read += 1;
            let mut bytes = [0; BLOCK];
            self.file.read_exact_at(&mut bytes, at as u64)?;
            ensure!(bytes == self.contents[at..at + BLOCK], "the bytes at {at} differ");
        }
        Ok(())
    }

    fn counts(&self) -> Result<Counts> {
        let stats = self.mount.daemon().stats()?;
        let asked = |i| self.known(&stats, i)?["asked"].as_u64().context("asked");
        Ok(Counts { asked: (0..3).map(asked).collect::<Result<_>>()?, stats })
    }

    /// What the client says of a chunkserver.
    fn known<'s>(&self, stats: &'s Value, i: usize) -> Result<&'s Value> {
        let status = self.cluster.server_status(i)?;
        let servers = stats["servers"].as_array().context("servers")?;
        servers
            .iter()
            .find(|server| server["server"] == status["id"])
            .with_context(|| format!("chunk{i} is not in {stats}"))
    }

    fn breaker(&self, i: usize) -> Result<String> {
        let stats = self.mount.daemon().stats()?;
        Ok(self.known(&stats, i)?["breaker"].as_str().context("breaker")?.to_owned())
    }
}

impl Counts {
    fn number(&self, pointer: &str) -> Result<u64> {
        self.stats.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("{pointer} in {}", self.stats))
    }

    fn since(&self, before: &Self, pointer: &str) -> Result<u64> {
        Ok(self.number(pointer)? - before.number(pointer)?)
    }

    fn asked_since(&self, before: &Self) -> Vec<u64> {
        differences(&self.asked, &before.asked)
    }
}

fn differences(now: &[u64], before: &[u64]) -> Vec<u64> {
    now.iter().zip(before).map(|(now, before)| now - before).collect()
}

/// Reads that each chunkserver was asked for, by its own count.
fn served(cluster: &Cluster) -> Result<Vec<u64>> {
    let reads_of = |i| -> Result<u64> {
        let stats = cluster.chunkserver(i)?.stats()?;
        let calls = stats.as_array().context("an array of calls")?;
        Ok(calls
            .iter()
            .find(|call| call["name"] == "ChunkService.read")
            .and_then(|call| call["calls"].as_u64())
            .unwrap_or(0))
    };
    (0..3).map(reads_of).collect()
}

#[test]
fn the_copy_in_this_rack_is_read() -> Result<()> {
    let cluster = three_racks()?;
    for rack in [1, 2] {
        // What is slow is not asked for twice: this is about where it is asked for first.
        let mut reader = Reader::new(&cluster, &format!("labels=rack=r{rack},hedge_percent=0"))?;
        let (asked, served_before) = (reader.counts()?, served(&cluster)?);
        reader.read_blocks(50)?;
        let served = differences(&served(&cluster)?, &served_before);
        ensure!(served[rack] >= 50 && served.iter().sum::<u64>() == served[rack], "{served:?}");
        let after = reader.counts()?;
        ensure!(after.asked_since(&asked) == served, "{after:?}");
        let Reader { mount, file, .. } = reader;
        drop(file);
        mount.unmount()?;
    }
    Ok(())
}

#[test]
fn a_chunkserver_that_does_not_answer_costs_no_more_than_hedges_and_is_used_again_when_it_does() -> Result<()> {
    let cluster = three_racks()?;
    let mut reader = Reader::new(&cluster, "labels=rack=r1")?;
    let before = reader.counts()?;
    let stopped = Stopped::new(cluster.chunkserver(1)?)?;
    reader.read_blocks(60)?;
    let after = reader.counts()?;
    ensure!(after.since(&before, "/failed_over")? == 0, "a read has waited for a call to fail: {after:?}");
    let (hedges, moved_on) = (after.since(&before, "/hedges/sent")?, after.since(&before, "/moved_on")?);
    let probes = after.since(&before, "/breakers/half_opened")?;
    let asked = after.asked_since(&before);
    ensure!(asked[1] <= OVERTAKEN + probes, "it is asked once more for each probe only: {asked:?} {after:?}");
    ensure!(asked[0] + asked[2] >= 60, "the others have answered: {asked:?}");
    let reads = after.since(&before, "/reads")?;
    let twice = asked.iter().sum::<u64>() - reads;
    ensure!(
        reads >= 60 && twice <= hedges + moved_on + probes,
        "of {reads} reads {twice} were asked for twice: {after:?}"
    );
    ensure!(reader.breaker(1)? != "closed", "{after:?}");

    stopped.resume();
    run::wait_until("it is asked first again", SETTLE, || {
        reader.read_blocks(1)?;
        Ok(reader.breaker(1)? == "closed")
    })?;
    let before = served(&cluster)?;
    reader.read_blocks(20)?;
    let served = differences(&served(&cluster)?, &before);
    ensure!(served[1] >= 20, "{served:?}");
    let Reader { mount, file, .. } = reader;
    drop(file);
    mount.unmount()
}
