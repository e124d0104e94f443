//! Whatever several mounts saw of each other's reads, writes, locks, creates, removals and renames, one machine could have shown it:
//! random histories on them, with and without faults, are checked by [`cairn_tests::linear`].
//!
//! `CAIRN_LINEAR_SECONDS` (default 60) is how long all of it works; `CAIRN_SEED` makes it do the same again.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_tests::cluster::{Cluster, Faults, Options};
use cairn_tests::linear::faults::{Fault, Site, Trial, prepare};
use cairn_tests::linear::history::{Summary, Violation};
use cairn_tests::linear::load::Load;
use cairn_tests::linear::worker::Manner;
use cairn_tests::{binaries, pattern, run};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Silence after which the metaserver gives a client up.
const TERM: Duration = Duration::from_secs(3);
/// How long workers may take to end once all faults are over: several terms, and what clients take to come back.
const END: Duration = Duration::from_secs(90);
/// How long one history grows under faults.
const EPISODE: Duration = Duration::from_secs(10);

/// The part of the whole time that a test takes.
fn seconds(part: f64) -> Duration {
    let all = std::env::var("CAIRN_LINEAR_SECONDS").map_or(60.0, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs_f64(all * part)
}

/// As fast as possible, in all ways, and nothing is to fail.
fn calm(seed: u64) -> Manner {
    Manner {
        worker: 0,
        seed,
        calls: 1_500,
        pace_us: 0,
        sync: false,
        keep_open: true,
        map: true,
        may_be_given_up: false,
    }
}

/// For a cluster with faults.
fn careful(seed: u64, plan: &Plan) -> Manner {
    let may_be_given_up = plan.faults.iter().any(|fault| matches!(fault, Fault::Stop | Fault::LongCut));
    let keep_open = plan.keep_open;
    Manner { calls: usize::MAX, pace_us: 4_000, sync: true, keep_open, map: false, may_be_given_up, ..calm(seed) }
}

fn complain(violations: &[Violation], load: &mut Load, seed: u64) -> Result<()> {
    if violations.is_empty() {
        return Ok(());
    }
    let all: String = violations.iter().map(|v| format!("{}\n", v.0)).collect();
    bail!("seed {seed}; the workers' logs are kept in {}\n{all}", load.keep().display());
}

/// One history of workers on `roots`, in a fresh directory there, without faults. Answers what is wrong with it.
fn without_faults(roots: &[&Path], dir: &str, seed: u64) -> Result<(Summary, Load, Vec<Violation>)> {
    prepare(roots[0], dir)?;
    let mut load = Load::new(calm(seed))?;
    for root in roots {
        load.start(&root.join(dir))?;
    }
    load.wait(END)?;
    let history = load.history()?;
    let summary = history.summary;
    ensure!(summary.failed == 0, "{} calls failed, and nothing was the matter", summary.failed);
    let violations = history.violations()?;
    Ok((summary, load, violations))
}

/// Histories one after the other, for `time`; none is to be wrong.
fn agree(roots: &[&Path], name: &str, seed: u64, time: Duration) -> Result<()> {
    let start = Instant::now();
    let (mut all, mut histories) = (Summary::default(), 0);
    while histories == 0 || start.elapsed() < time {
        let seed = seed.wrapping_add(1_000 * histories);
        let (summary, mut load, violations) = without_faults(roots, &format!("{name}{histories}"), seed)?;
        complain(&violations, &mut load, seed)?;
        all += summary;
        histories += 1;
    }
    println!("{name}: {histories} histories in {:?}: {all:?}", start.elapsed());
    Ok(())
}

#[test]
fn a_local_directory_is_linearizable() -> Result<()> {
    let local = tempfile::tempdir()?;
    agree(&[local.path(); 4], "local", pattern::seed("local"), seconds(0.02))
}

#[test]
fn a_single_mount_is_linearizable() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    agree(&[mount.path(); 4], "one", pattern::seed("single"), seconds(0.1))?;
    mount.unmount()?;
    cluster.assert_fsck_clean()
}

#[test]
fn several_mounts_are_linearizable() -> Result<()> {
    let cluster = Cluster::start()?;
    let mounts = [cluster.mount()?, cluster.mount()?, cluster.mount()?];
    let [one, two, three] = mounts.each_ref().map(|m| m.path());
    let seed = pattern::seed("several");
    // Two mounts that pass everything to and fro, and then three with two programs each.
    agree(&[one, two], "two", seed, seconds(0.1))?;
    agree(&[one, two, three, one, two, three], "three", seed, seconds(0.15))?;
    mounts.into_iter().try_for_each(|mount| mount.unmount())?;
    cluster.assert_fsck_clean()
}

/// What a history has to live with.
struct Plan<'a> {
    faults: &'a [Fault],
    /// Of each client.
    workers: usize,
    keep_open: bool,
}

/// Histories as planned, each plan at least once, for `time`.
fn live_with(seed: u64, time: Duration, cluster: &mut Cluster, sites: &mut [Site], plans: &[Plan]) -> Result<()> {
    let start = Instant::now();
    let (mut all, mut histories) = (Summary::default(), 0);
    while histories < plans.len() || start.elapsed() < time {
        let plan = &plans[histories % plans.len()];
        let (dir, seed) = (format!("h{histories}"), seed.wrapping_add(1_000 * histories as u64));
        all += under_faults(cluster, sites, &dir, seed, plan)
            .with_context(|| format!("history {histories}, seed {seed}, files kept open: {}", plan.keep_open))?;
        histories += 1;
    }
    println!("{histories} histories in {:?}: {all:?}", start.elapsed());
    Ok(())
}

fn under_faults(cluster: &mut Cluster, sites: &mut [Site], dir: &str, seed: u64, plan: &Plan) -> Result<Summary> {
    let Plan { faults, workers, .. } = *plan;
    // Those that were given up have to find a session again.
    for (n, site) in sites.iter().enumerate() {
        let file = site.mount()?.join(&format!("ready{n}"));
        run::wait_until("the client works", END, || Ok(File::create(&file)?.sync_all().is_ok()))?;
    }
    prepare(sites[0].mount()?.path(), dir)?;
    let mut load = Load::new(careful(seed, plan))?;
    for site in &mut *sites {
        site.start_workers(&mut load, dir, workers)?;
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let start = Instant::now();
    let mut done = Vec::new();
    let mut trial = Trial { cluster, sites, load: &mut load, dir, term: TERM };
    while start.elapsed() < EPISODE || done.len() < faults.len() {
        std::thread::sleep(Duration::from_millis(rng.random_range(100..1_500)));
        // Each of them once, and then any.
        let fault = faults.get(done.len()).copied().unwrap_or_else(|| faults[rng.random_range(0..faults.len())]);
        trial.strike(fault, &mut rng)?;
        done.push(fault);
    }
    load.finish(END).with_context(|| format!("after {done:?}"))?;
    let history = load.history()?;
    let summary = history.summary;
    println!("{dir}: {done:?}: {summary:?}");
    ensure!(summary.calls > 100, "the workers hardly worked: {summary:?}");
    complain(&history.violations()?, &mut load, seed).with_context(|| format!("after {done:?}"))?;
    Ok(summary)
}

fn short_term() -> Options {
    let meta_args = vec!["--set".into(), format!("session_term_s={}", TERM.as_secs())];
    Options { meta_args, ..Options::default() }
}

/// With a single client there is nobody to disagree with: what the faults themselves do is shown by this.
#[test]
fn a_single_client_sees_nothing_wrong() -> Result<()> {
    use Fault::{Kill, LongCut, Pause, PauseMeta, RestartMeta, ShortCut, Stop};
    let seed = pattern::seed("client");
    let mut cluster = Cluster::with(Options { network: true, ..short_term() })?;
    let mut sites = [Site::apart(&cluster)?];
    let plans = [
        // What a program has not synced is seen by others on the same mount, and may be lost with it: so there is one, where it is.
        Plan { faults: &[Kill, LongCut, ShortCut, Stop, RestartMeta], workers: 1, keep_open: true },
        Plan { faults: &[Pause, PauseMeta, RestartMeta], workers: 3, keep_open: true },
    ];
    live_with(seed, Duration::ZERO, &mut cluster, &mut sites, &plans)?;
    sites.into_iter().try_for_each(Site::end)?;
    cluster.assert_fsck_clean()
}

#[test]
fn clients_that_are_stopped_killed_and_cut_off_see_nothing_wrong() -> Result<()> {
    use Fault::{Kill, LongCut, Pause, ShortCut, Stop};
    let seed = pattern::seed("clients");
    let mut cluster = Cluster::with(Options { network: true, ..short_term() })?;
    let mut sites = (0..4).map(|_| Site::apart(&cluster)).collect::<Result<Vec<_>>>()?;
    // The kernel of a stopped client answers for it from its page cache, to whoever has the file open: there is nobody to tell it
    // that the term is over. So files are not kept open where clients are stopped for that long.
    let plans = [
        Plan { faults: &[Stop, Kill, LongCut, Pause], workers: 1, keep_open: false },
        Plan { faults: &[LongCut, ShortCut, Kill, Pause], workers: 1, keep_open: true },
    ];
    live_with(seed, seconds(0.5), &mut cluster, &mut sites, &plans)?;
    sites.into_iter().try_for_each(Site::end)?;
    cluster.assert_fsck_clean()
}

#[test]
fn a_metaserver_that_pauses_or_restarts_shows_nothing_wrong() -> Result<()> {
    use Fault::{Kill, PauseMeta, RestartMeta};
    let seed = pattern::seed("metaserver");
    let mut cluster = Cluster::with(short_term())?;
    let mut sites = (0..3).map(|_| Site::beside(&cluster)).collect::<Result<Vec<_>>>()?;
    let plan = Plan { faults: &[PauseMeta, RestartMeta, Kill], workers: 1, keep_open: true };
    live_with(seed, seconds(0.25), &mut cluster, &mut sites, &[plan])?;
    sites.into_iter().try_for_each(Site::end)?;
    cluster.assert_fsck_clean()
}

#[test]
fn without_recall_a_violation_is_found() -> Result<()> {
    let seed = pattern::seed("no_recall");
    let meta_faults =
        Some(Faults { binary: binaries::cairn_faulty()?, env: vec![("CAIRN_FAULTS", "no-recall".into())] });
    let cluster = Cluster::with(Options { meta_faults, ..Options::default() })?;
    let mounts = [cluster.mount()?, cluster.mount()?];
    let roots = mounts.each_ref().map(|m| m.path());
    for n in 0..5 {
        let (_, _, violations) = without_faults(&roots, &format!("h{n}"), seed.wrapping_add(n))?;
        if let Some(violation) = violations.first() {
            println!("history {n}: {}", violation.0);
            return Ok(());
        }
    }
    bail!("five histories without recall, and the checker finds nothing wrong with them");
}
