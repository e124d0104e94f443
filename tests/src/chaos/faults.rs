//! What happens to the servers, one thing after the other, each healed before the next: so copies are never fewer than what is needed.
//!
//! Files are damaged at one chunkserver only, the *victim* of the run, and where two fail at once it is one of them: of three copies one
//! is whole and there at any time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::damage::{self, Damage};
use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::run;
use crate::stopped::Stopped;

/// For what was lost to be made good again.
const HEAL: Duration = Duration::from_secs(120);
/// Looks at the status, one after the other, in which nothing is to be missing.
const CALM_LOOKS: usize = 3;
/// Between two of them: longer than a census takes to come round.
const BETWEEN_LOOKS: Duration = Duration::from_millis(700);

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A chunkserver is killed, and started again: before it counts as dead, or after.
    Kill,
    /// Two at once.
    KillTwo,
    Stop,
    /// A chunkserver is cut off.
    Cut,
    /// It hears and is not heard.
    Mute,
    /// It is heard and does not hear.
    Deafen,
    /// Its network is slow.
    Slow,
    /// Its disk is full.
    Fill,
    /// Chunk files are damaged under a chunkserver that runs.
    Damage(Damage),
    /// The same while it is down.
    DamageDown(Damage),
    KillMeta,
    StopMeta,
    /// All servers at once.
    KillAll,
}

impl Fault {
    pub const ALL: [Self; 16] = [
        Self::Kill,
        Self::KillTwo,
        Self::Stop,
        Self::Cut,
        Self::Mute,
        Self::Deafen,
        Self::Slow,
        Self::Fill,
        Self::Damage(Damage::Flip),
        Self::Damage(Damage::Truncate),
        Self::Damage(Damage::Delete),
        Self::DamageDown(Damage::Truncate),
        Self::DamageDown(Damage::Delete),
        Self::KillMeta,
        Self::StopMeta,
        Self::KillAll,
    ];

    fn damages(self) -> bool {
        matches!(self, Self::Damage(_) | Self::DamageDown(_))
    }
}

/// A cluster that faults strike.
#[derive(Debug)]
pub struct Storm<'a> {
    cluster: &'a mut Cluster,
    rng: StdRng,
    victim: usize,
    /// What is still to come before anything comes again.
    deck: Vec<Fault>,
    /// How long a chunkserver may be away in one fault.
    longest: Duration,
}

impl<'a> Storm<'a> {
    pub fn new(cluster: &'a mut Cluster, mut rng: StdRng, longest: Duration) -> Self {
        let victim = rng.random_range(0..cluster.chunkservers());
        Self { cluster, rng, victim, deck: Vec::new(), longest }
    }

    /// The next fault; in the end all of them have come equally often.
    pub fn draw(&mut self) -> Fault {
        if self.deck.is_empty() {
            self.deck = Fault::ALL.to_vec();
            self.deck.shuffle(&mut self.rng);
        }
        self.deck.pop().expect("it was filled just now")
    }

    /// Has it happen, and waits until it is made good.
    pub fn strike(&mut self, fault: Fault) -> Result<()> {
        let began = Instant::now();
        self.suffer(fault).with_context(|| format!("{fault:?}"))?;
        let over = began.elapsed();
        self.heal(fault.damages()).with_context(|| format!("after {fault:?}"))?;
        println!("{fault:?} for {over:.1?}, made good after {:.1?}", began.elapsed());
        Ok(())
    }

    fn suffer(&mut self, fault: Fault) -> Result<()> {
        let time = self.longest.mul_f64(self.rng.random_range(0.05..1.0));
        let any = self.rng.random_range(0..self.cluster.chunkservers());
        match fault {
            Fault::Kill => self.down(&[any], time, |_| Ok(())),
            Fault::KillTwo => {
                let other = self.any_but_the_victim();
                self.down(&[self.victim, other], time, |_| Ok(()))
            }
            Fault::Stop => stop_for(self.cluster.chunkserver(any)?, time),
            Fault::StopMeta => stop_for(self.cluster.meta()?, time),
            Fault::Cut => during(self.cluster.chunk_host(any)?.cut()?, time),
            Fault::Mute => during(self.cluster.chunk_host(any)?.mute()?, time),
            Fault::Deafen => during(self.cluster.chunk_host(any)?.deafen()?, time),
            Fault::Slow => during(self.cluster.chunk_host(any)?.slow()?, time),
            Fault::Fill => during(self.cluster.chunk_disk(any)?.fill()?, time),
            Fault::Damage(damage) => self.damage(damage),
            Fault::DamageDown(damage) => self.down(&[self.victim], time, |storm| storm.damage(damage)),
            Fault::KillMeta => {
                self.cluster.kill_meta()?;
                std::thread::sleep(time / 2);
                self.cluster.start_meta()
            }
            Fault::KillAll => {
                self.cluster.kill_all()?;
                self.cluster.start_all()
            }
        }
    }

    fn any_but_the_victim(&mut self) -> usize {
        let servers = self.cluster.chunkservers();
        (self.victim + self.rng.random_range(1..servers)) % servers
    }

    /// Kills chunkservers, and starts them again.
    fn down(
        &mut self,
        servers: &[usize],
        time: Duration,
        meanwhile: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        servers.iter().try_for_each(|&i| self.cluster.kill_chunkserver(i))?;
        std::thread::sleep(time);
        meanwhile(self)?;
        servers.iter().try_for_each(|&i| self.cluster.start_chunkserver(i))
    }

    fn damage(&mut self, damage: Damage) -> Result<()> {
        let files = damage::strike(&self.cluster.chunkserver_dir(self.victim), damage, &mut self.rng)?;
        println!("{files} chunk files of chunkserver {} are damaged", self.victim);
        Ok(())
    }

    /// Waits until all servers are there, and all chunks have all their copies.
    fn heal(&self, damaged: bool) -> Result<()> {
        self.cluster.wait_healthy()?;
        if damaged {
            find_damage(self.cluster)?;
        }
        let mut calm = 0;
        run::wait_until("all chunks have all their copies", HEAL, || {
            std::thread::sleep(BETWEEN_LOOKS);
            let chunks = &self.cluster.cairn_json(&["status"])?["chunks"];
            let is_calm = ["below_target", "unavailable"].iter().all(|kind| chunks[kind].as_u64() == Some(0));
            calm = if is_calm { calm + 1 } else { 0 };
            Ok(calm == CALM_LOOKS)
        })
    }
}

/// Reads all copies until none is damaged any more: what is found is repaired.
pub fn find_damage(cluster: &Cluster) -> Result<()> {
    let mut last = String::new();
    let found = run::wait_until("damage is made good", HEAL, || {
        let output = cluster.cairn(&["fsck", "--data"])?;
        last = run::printed(&output);
        Ok(output.status.success())
    });
    found.with_context(|| format!("the last check found:\n{last}"))
}

/// Waits until nothing is dirty, and all copies are whole, the same, and as many as they should be.
pub fn settle(cluster: &Cluster) -> Result<()> {
    cluster.wait_settled(HEAL)?;
    find_damage(cluster)?;
    cluster.wait_settled(HEAL)?;
    ensure!(cluster.cairn(&["fsck", "--data"])?.status.success(), "fsck finds something again");
    Ok(())
}

fn stop_for(daemon: &Daemon, time: Duration) -> Result<()> {
    during(Stopped::new(daemon)?, time)
}

/// Keeps up a state of things for a while.
fn during<T>(state: T, time: Duration) -> Result<()> {
    std::thread::sleep(time);
    drop(state);
    Ok(())
}
