//! Servers that are away, clients that are killed, and mounts that are taken away meanwhile: nobody is stuck, and nothing is left behind.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::locker::Locker;
use cairn_tests::mount::{Mount, supervised};
use cairn_tests::{binaries, run};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

/// After this a call that has not returned is taken to wait.
const WAITING: Duration = Duration::from_millis(300);
/// For whatever is to happen in a second or two, on a slow machine.
const SOON: Duration = Duration::from_secs(15);
/// A session term by which a metaserver that is frozen is soon found out.
const TERM_S: u64 = 4;

fn one_chunkserver() -> Result<Cluster> {
    let meta_args = vec!["--set".to_owned(), format!("session_term_s={TERM_S}")];
    Cluster::with(Options { chunkservers: 1, copies: 1, meta_args, ..Options::default() })
}

/// Kills the metaserver, and returns when clients know.
fn lose_meta(cluster: &mut Cluster) -> Result<()> {
    cluster.kill_meta()?;
    thread::sleep(Duration::from_millis(1500));
    Ok(())
}

fn cairn(args: &[&str]) -> Command {
    let mut command = Command::new(binaries::cairn());
    command.args(args).env_remove("CAIRN_META");
    command
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Not a question to the mount.
fn is_mounted(path: &Path) -> Result<bool> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().any(|line| line.split(' ').nth(4) == path.to_str()))
}

fn is_running(pid: Pid) -> bool {
    // A zombie has ended: its parent was told.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
}

fn expect_waiting(locker: &Locker) -> Result<()> {
    let answer = locker.answer_within(WAITING);
    ensure!(answer.is_none(), "it did not wait: {answer:?}");
    Ok(())
}

/// A program that waits on a mount. Dropped, it is killed.
struct Program {
    what: String,
    child: Child,
}

impl Program {
    fn start(dir: &Path, what: &str) -> Result<Self> {
        let mut command = Command::new("bash");
        // In place of the shell, which would have opinions of its own about signals.
        command.args(["-c", &format!("cd $D && exec {what}")]).current_dir("/").env("D", dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A test that runs in the background of a script inherits that this is ignored.
        // SAFETY: sigaction may be called between fork and exec.
        unsafe { command.pre_exec(|| Ok(signal(Signal::SIGINT, SigHandler::SigDfl).map(drop)?)) };
        let child = command.spawn()?;
        Ok(Self { what: what.to_owned(), child })
    }

    fn expect_waiting(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("`{}` did not wait: {status}", self.what);
        }
        Ok(())
    }

    /// Ends it by a signal.
    fn end(&mut self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), signal)?;
        let due = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let by = status.signal();
                ensure!(by == Some(signal as i32), "`{}` ended with {status}, not by {signal}", self.what);
                return Ok(());
            }
            ensure!(Instant::now() < due, "`{}` was not ended by {signal}", self.what);
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.try_wait();
    }
}

/// Programs that wait for the metaserver, each in a call of its own and in a directory of its own: in the kernel a call that waits keeps out
/// others in its directory, and that queue is left by nobody.
const WAITERS: [&str; 12] = [
    "stat a",
    "cat a",
    "ls d",
    "mkdir new",
    "touch new",
    "rm -f b",
    "mv -n b new",
    "ln -s a new",
    "truncate -s 1 b",
    "chmod 600 b",
    "rmdir d",
    "dd if=/dev/zero of=b conv=fsync",
];

/// A mount on which the kernel knows of each program's directory, and of its `b`, `d` and `new`, but of no `a`, for a term. So most wait not
/// for a name to be looked up but for what they are about.
fn with_waiters(cluster: &Cluster) -> Result<Mount> {
    let count = WAITERS.len();
    let mount = cluster.mount()?;
    run::shell(
        mount.path(),
        &format!("for n in $(seq {count}); do mkdir -p $n/d; echo a > $n/a; echo b > $n/b; done"),
    )?;
    mount.unmount()?;
    let mount = cluster.mount()?;
    run::shell(mount.path(), &format!("for n in $(seq {count}); do stat $n/b $n/d; ! stat $n/new; done 2>&1"))?;
    Ok(mount)
}

fn start_waiters(mount: &Mount) -> Result<Vec<Program>> {
    let start = |(n, what): (usize, &&str)| Program::start(&mount.join(&(n + 1).to_string()), what);
    let mut waiting: Vec<Program> = WAITERS.iter().enumerate().map(start).collect::<Result<_>>()?;
    thread::sleep(Duration::from_secs(1));
    waiting.iter_mut().try_for_each(Program::expect_waiting)?;
    Ok(waiting)
}

/// Ends each by a signal.
fn end_waiters(mut waiting: Vec<Program>) -> Result<()> {
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL];
    waiting.iter_mut().zip(signals.into_iter().cycle()).try_for_each(|(program, signal)| program.end(signal))
}

fn with_three_names(cluster: &Cluster) -> Result<()> {
    let mount = cluster.mount()?;
    run::shell(mount.path(), "echo a > a; echo b > b; mkdir d; touch d/inside")?;
    mount.unmount()
}

#[test]
fn who_waits_for_the_metaserver_goes_on_when_it_is_back() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    with_three_names(&cluster)?;
    let mount = cluster.mount()?;
    lose_meta(&mut cluster)?;
    let mut waiting: Vec<Program> = ["cat a", "mkdir d/new", "ls d"]
        .iter()
        .map(|what| Program::start(mount.path(), what))
        .collect::<Result<_>>()?;
    thread::sleep(Duration::from_secs(3));
    waiting.iter_mut().try_for_each(Program::expect_waiting)?;
    cluster.start_meta()?;
    for program in &mut waiting {
        run::wait_until(&program.what.clone(), SOON, || {
            Ok(program.child.try_wait()?.is_some_and(|status| status.success()))
        })?;
    }
    ensure!(mount.join("d/new").is_dir());
    mount.unmount()
}

/// Each of two mounts reads what the other has written to, and so waits with a page in hand for the other to say what it has; while it has leases
/// of its own to drop.
#[test]
fn mounts_that_wait_for_each_other_go_on_when_the_metaserver_is_back() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    let mounts = [cluster.mount()?, cluster.mount()?];
    let mut programs = [Locker::start(mounts[0].path())?, Locker::start(mounts[1].path())?];
    let files = ["first", "second"];
    // Who opens a file first reads it through the kernel's pages.
    for (program, file) in programs.iter_mut().zip(files) {
        program.expect(&format!("open {file}"), "ok")?;
        program.expect("write 0 0 old", "ok")?;
    }
    for (program, file) in programs.iter_mut().rev().zip(files) {
        program.expect(&format!("open {file}"), "ok")?;
        program.expect("write 1 0 new", "ok")?;
    }
    lose_meta(&mut cluster)?;
    for program in &mut programs {
        program.begin("read 0 0 3")?;
        expect_waiting(program)?;
    }
    cluster.start_meta()?;
    for program in &mut programs {
        let read = program.answer()?;
        ensure!(read == "new", "{read:?} was read");
    }
    for mount in &mounts {
        std::fs::write(mount.join("another"), "changed")?;
    }
    drop(programs);
    mounts.into_iter().try_for_each(Mount::unmount)
}

#[test]
fn a_signal_ends_whoever_waits_for_a_metaserver_that_was_killed() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    let mount = with_waiters(&cluster)?;
    lose_meta(&mut cluster)?;
    end_waiters(start_waiters(&mount)?)?;
    cluster.start_meta()?;
    cluster.wait_healthy()?;
    run::shell_within(mount.path(), "mkdir after; echo c > after/f; cat after/f", SOON)?;
    mount.unmount()?;
    cluster.wait_settled(Duration::from_secs(60))?;
    cluster.assert_fsck_clean()
}

#[test]
fn a_signal_ends_whoever_waits_for_a_metaserver_that_does_not_answer() -> Result<()> {
    let cluster = one_chunkserver()?;
    let mount = with_waiters(&cluster)?;
    cluster.meta()?.signal(Signal::SIGSTOP)?;
    let ended = start_waiters(&mount).and_then(end_waiters);
    cluster.meta()?.signal(Signal::SIGCONT)?;
    ended?;
    run::shell_within(mount.path(), "mkdir after; stat after 1/a", SOON)?;
    mount.unmount()
}

#[test]
fn who_has_written_can_be_killed_and_what_was_written_is_kept() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    let mount = cluster.mount()?;
    let mut writer = Locker::start(mount.path())?;
    writer.expect("open f", "ok")?;
    cluster.kill_meta()?;
    writer.expect("write 0 0 text", "ok")?;
    writer.begin("fsync 0")?;
    expect_waiting(&writer)?;
    let begin = Instant::now();
    writer.kill()?;
    ensure!(begin.elapsed() < SOON, "its end took {:?}", begin.elapsed());
    cluster.start_meta()?;
    run::wait_until("what it has written", SOON, || Ok(std::fs::read_to_string(mount.join("f"))? == "text"))?;
    mount.unmount()
}

#[test]
fn a_signal_that_is_handled_is_seen_only_while_the_metaserver_is_away() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    with_three_names(&cluster)?;
    let mount = cluster.mount()?;
    let mut program = Locker::start(mount.path())?;
    program.expect("open b", "ok")?;
    for n in 0..200 {
        program.begin(&format!("mkdir d{n}"))?;
        program.interrupt()?;
        ensure!(program.answer()? == "ok", "interrupted although the metaserver was there");
    }
    program.expect("write 0 0 text", "ok")?;
    lose_meta(&mut cluster)?;
    for call in ["stat d/inside", "look d/inside", "mkdir d/new", "fsync 0"] {
        program.begin(call)?;
        expect_waiting(&program)?;
        program.interrupt()?;
        let answer = program.answer()?;
        ensure!(answer == "EINTR", "{call}: {answer}");
    }
    program.begin("fsync 0")?;
    expect_waiting(&program)?;
    cluster.start_meta()?;
    ensure!(program.answer()? == "ok", "a call that was not interrupted waits");
    drop(program);
    mount.unmount()
}

#[test]
fn what_was_interrupted_is_done_late_only_where_that_does_no_harm() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    let mount = with_waiters(&cluster)?;
    let (mut maker, mut remover) = (Locker::start(&mount.join("1"))?, Locker::start(&mount.join("2"))?);
    lose_meta(&mut cluster)?;
    maker.begin("mkdir new")?;
    remover.begin("remove b")?;
    let mut killed = Program::start(&mount.join("3"), "rm -f b")?;
    expect_waiting(&maker)?;
    expect_waiting(&remover)?;
    maker.interrupt()?;
    remover.interrupt()?;
    ensure!(maker.answer()? == "EINTR");
    ensure!(remover.answer_within(Duration::from_secs(3)).is_none(), "done late, it could remove what came later");
    killed.end(Signal::SIGINT)?;
    cluster.start_meta()?;
    ensure!(remover.answer()? == "ok");
    run::wait_until("all of it is done", SOON, || {
        let (made, removed) = (cluster.cairn(&["info", "/1/new"])?, cluster.cairn(&["info", "/3/b"])?);
        Ok(made.status.success() && !removed.status.success())
    })?;
    drop((maker, remover));
    mount.unmount()
}

#[test]
fn with_a_limit_calls_fail_and_work_again() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    with_three_names(&cluster)?;
    let mount = cluster.mount_with("timeout=3")?;
    let mut program = Locker::start(mount.path())?;
    program.expect("open b", "ok")?;
    cluster.kill_meta()?;
    program.expect("write 0 0 kept", "ok")?;
    let begin = Instant::now();
    program.expect("stat a", "EIO")?;
    let waited = begin.elapsed();
    ensure!(waited > Duration::from_secs(2) && waited < Duration::from_secs(8), "{waited:?}");
    for call in ["stat d", "look a", "mkdir x", "fsync 0"] {
        program.expect(call, "EIO")?;
    }
    let log = mount.daemon().log()?;
    let said = log.lines().filter(|line| line.contains("operations fail until the servers answer again")).count();
    ensure!(said == 1, "said {said} times:\n{log}");
    cluster.start_meta()?;
    run::wait_until("it works again", SOON, || Ok(program.ask("stat a")? == "ok"))?;
    program.expect("fsync 0", "ok")?;
    let other = cluster.mount()?;
    ensure!(std::fs::read_to_string(other.join("b"))? == "kept", "what could not be sent in time was kept");
    other.unmount()?;
    drop(program);
    mount.unmount()
}

#[test]
fn with_a_limit_calls_fail_while_all_chunkservers_are_away() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    let mount = cluster.mount_with("timeout=3")?;
    let mut program = Locker::start(mount.path())?;
    program.expect("open f", "ok")?;
    program.expect("write 0 0 text", "ok")?;
    program.expect("fsync 0", "ok")?;
    cluster.kill_chunkserver(0)?;
    program.expect("write 0 0 more", "ok")?;
    program.begin("fsync 0")?;
    ensure!(program.answer_within(SOON).as_deref() == Some("EIO"));
    let reader = cluster.mount_with("timeout=3")?;
    let read = std::fs::read(reader.join("f")).map_err(|error| error.raw_os_error());
    ensure!(read == Err(Some(nix::libc::EIO)), "{read:?}");
    cluster.start_chunkserver(0)?;
    run::wait_until("fsync works again", Duration::from_secs(30), || Ok(program.ask("fsync 0")? == "ok"))?;
    program.expect("read 0 0 4", "more")?;
    drop(program);
    reader.unmount()?;
    mount.unmount()
}

#[test]
fn mounts_are_taken_away_while_everything_is_down() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    let mounts: Vec<Mount> = (0..6).map(|_| cluster.mount()).collect::<Result<_>>()?;
    for (n, mount) in mounts.iter().enumerate() {
        run::shell(mount.path(), &format!("echo {n} > f{n}; sync f{n}; cat f{n}"))?;
        run::check(cairn(&["sync"]).arg(mount.path()))?;
    }
    cluster.kill_all()?;
    let ways: [&dyn Fn(&str) -> Command; 5] = [
        &|path| command("umount", &[path]),
        &|path| command("umount", &["-l", path]),
        &|path| cairn(&["umount", path]),
        &|path| cairn(&["umount", "--lazy", path]),
        &|path| cairn(&["umount", "--force", path]),
    ];
    let mut mounts = mounts.into_iter();
    for (way, mount) in ways.into_iter().zip(&mut mounts) {
        let path = mount.path().to_owned();
        let mut command = Command::new("timeout");
        let asked = way(&shown(&path));
        command.arg("20").arg(asked.get_program()).args(asked.get_args());
        let status = mount.taken_away(&mut command, SOON).with_context(|| format!("{command:?}"))?;
        ensure!(status.success(), "after {command:?} the client ended with {status}");
        ensure!(!is_mounted(&path)?, "{command:?}");
    }
    let last = mounts.next().context("one is left")?;
    let path = last.path().to_owned();
    let status = last.ended_by(Signal::SIGTERM, SOON)?;
    ensure!(status.success() && !is_mounted(&path)?, "after SIGTERM the client ended with {status}");
    cluster.start_all()?;
    cluster.wait_healthy()?;
    let mount = cluster.mount()?;
    ensure!(run::shell(mount.path(), "cat f?")? == "0\n1\n2\n3\n4\n5\n");
    mount.unmount()
}

fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

#[test]
fn df_and_the_root_are_shown_as_last_known() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    let mount = cluster.mount()?;
    let before = std::fs::metadata(mount.path())?.ino();
    lose_meta(&mut cluster)?;
    run::check(Command::new("timeout").args(["10", "df"]).arg(mount.path()))?;
    ensure!(std::fs::metadata(mount.path())?.ino() == before);
    cluster.start_meta()?;
    mount.unmount()
}

#[test]
fn what_cannot_be_saved_is_said() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    let mount = cluster.mount_with("stop_timeout_ms=2000")?;
    let log = cluster.log("mount0");
    let (path, mut program) = (mount.path().to_owned(), Locker::start(mount.path())?);
    program.expect("open f", "ok")?;
    cluster.kill_all()?;
    program.expect("write 0 0 text", "ok")?;
    let busy = run::output(&mut cairn(&["umount", &shown(&path)]))?;
    let said = run::printed(&busy);
    ensure!(busy.status.code() == Some(1) && said.contains("in use") && said.contains("--force"), "{said}");
    let ending = thread::spawn(move || -> Result<()> {
        thread::sleep(Duration::from_secs(1));
        program.kill()
    });
    let status = mount.taken_away(Command::new("umount").arg("-l").arg(&path), Duration::from_secs(30))?;
    ending.join().expect("it does not panic")?;
    ensure!(status.code() == Some(1), "the client ended with {status}");
    let log = std::fs::read_to_string(log)?;
    let said = log.lines().filter(|line| line.contains("written data may be lost")).count();
    ensure!(said == 1, "said {said} times:\n{log}");
    Ok(())
}

#[test]
fn force_frees_whoever_waits() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    with_three_names(&cluster)?;
    let mount = cluster.mount()?;
    let mut program = Locker::start(mount.path())?;
    lose_meta(&mut cluster)?;
    program.begin("stat a")?;
    expect_waiting(&program)?;
    let path = mount.path().to_owned();
    let status = mount.taken_away(&mut cairn(&["umount", "--force", &shown(&path)]), SOON)?;
    let answer = program.answer()?;
    ensure!(["ECONNABORTED", "ENOTCONN"].contains(&answer.as_str()), "{answer}");
    ensure!(status.success(), "the client ended with {status}");
    Ok(())
}

/// Waits until `path` is a file again with `content`.
fn usable_again(path: &Path, content: &str) -> Result<Duration> {
    let begin = Instant::now();
    run::wait_until("the path works again", SOON, || Ok(std::fs::read_to_string(path)? == content))?;
    Ok(begin.elapsed())
}

#[test]
fn a_supervised_mount_outlives_its_client() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount_with("supervise")?;
    let path = mount.path().to_owned();
    // Enough for the directory to be delegated to the client that dies: what that had for itself must not be waited for.
    run::shell(&path, "mkdir d; for n in $(seq 50); do echo $n > d/f$n; done; cat d/*")?;
    run::check(cairn(&["sync"]).arg(&path))?;
    let mut clients = Vec::new();
    for n in 0..4 {
        let client = mount.supervised_pid()?;
        ensure!(!clients.contains(&client), "{client} was killed already");
        clients.push(client);
        kill(client, Signal::SIGKILL)?;
        run::wait_until("the client ends", SOON, || Ok(!is_running(client)))?;
        let took = usable_again(&path.join("d/f7"), "7\n")?;
        ensure!(took < Duration::from_secs(8), "it took {took:?}");
        run::shell_within(&path, &format!("ls d | wc -l; echo {n} > d/after{n}; sync d/after{n}"), SOON)?;
    }
    clients.push(mount.supervised_pid()?);
    let log = mount.daemon().log()?;
    let said = log.lines().filter(|line| line.contains("the client is gone; mounting again")).count();
    ensure!(said == 4, "said {said} times:\n{log}");
    mount.unmount()?;
    ensure!(!is_mounted(&path)?);
    ensure!(clients.into_iter().all(|pid| !is_running(pid)), "processes are left");
    let mount = cluster.mount()?;
    ensure!(run::shell(mount.path(), "cat d/after?")? == "0\n1\n2\n3\n");
    mount.unmount()
}

#[test]
fn a_supervisor_passes_signals_on() -> Result<()> {
    let cluster = one_chunkserver()?;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mount = cluster.mount_with("supervise")?;
        let (path, client) = (mount.path().to_owned(), mount.supervised_pid()?);
        std::fs::write(mount.join("f"), format!("{signal}"))?;
        let status = mount.ended_by(signal, SOON)?;
        ensure!(status.success() && !is_mounted(&path)? && !is_running(client), "{signal}: {status}");
    }
    let mount = cluster.mount()?;
    ensure!(std::fs::read_to_string(mount.join("f"))? == "SIGINT");
    mount.unmount()
}

#[test]
fn a_supervised_mount_never_shows_the_bare_directory() -> Result<()> {
    let mut cluster = one_chunkserver()?;
    let mount = cluster.mount_with("supervise,start_timeout_ms=1000")?;
    let path = mount.path().to_owned();
    std::fs::write(mount.join("f"), "here")?;
    run::check(cairn(&["sync"]).arg(&path))?;
    cluster.kill_meta()?;
    let client = mount.supervised_pid()?;
    kill(client, Signal::SIGKILL)?;
    run::wait_until("the client ends", SOON, || Ok(!is_running(client)))?;
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        if let Ok(found) = std::fs::read_dir(&path) {
            bail!("the directory beneath is seen, with {} entries", found.count());
        }
        thread::sleep(Duration::from_millis(5));
    }
    cluster.start_meta()?;
    usable_again(&path.join("f"), "here")?;
    // And when it is told to stop meanwhile, it leaves no dead mount.
    cluster.kill_meta()?;
    kill(mount.supervised_pid()?, Signal::SIGKILL)?;
    run::wait_until("the mount is dead", SOON, || Ok(std::fs::read_dir(&path).is_err()))?;
    mount.ended_by(Signal::SIGTERM, SOON)?;
    ensure!(!is_mounted(&path)?);
    Ok(())
}

#[test]
fn supervised_in_the_background_by_command_and_by_mount_helper() -> Result<()> {
    let cluster = one_chunkserver()?;
    let (path, log) = (cluster.dir().join("background"), cluster.log("background"));
    std::fs::create_dir(&path)?;
    run::check(&mut cairn(&[
        "mount",
        cluster.meta_endpoint(),
        &shown(&path),
        "--supervise",
        "--log-file",
        &shown(&log),
    ]))?;
    let outcome = killed_and_unmounted(&path, &log);
    let _ = run::output(Command::new("umount").arg("-l").arg(&path));
    outcome?;

    let helper = cluster.dir().join("mount.cairn");
    std::os::unix::fs::symlink(binaries::cairn(), &helper)?;
    let mut command = Command::new(&helper);
    run::check(command.arg(cluster.meta_endpoint()).arg(&path).args(["-o", "rw,supervise,_netdev"]))?;
    std::fs::write(path.join("g"), "by the helper")?;
    run::check(&mut cairn(&["umount", &shown(&path)]))?;
    run::wait_until("it is unmounted", SOON, || Ok(!is_mounted(&path)?))
}

fn killed_and_unmounted(path: &Path, log: &Path) -> Result<()> {
    std::fs::write(path.join("f"), "text")?;
    run::check(cairn(&["sync"]).arg(path))?;
    let (client, supervisor) = supervised(&std::fs::read_to_string(log)?)?;
    kill(client, Signal::SIGKILL)?;
    run::wait_until("the client ends", SOON, || Ok(!is_running(client)))?;
    usable_again(&path.join("f"), "text")?;
    let (second, _) = supervised(&std::fs::read_to_string(log)?)?;
    run::check(&mut cairn(&["umount", &shown(path)]))?;
    run::wait_until("both processes end", SOON, || Ok(!is_running(supervisor) && !is_running(second)))
}

#[test]
fn a_dead_mount_is_replaced_by_the_next_one() -> Result<()> {
    let cluster = one_chunkserver()?;
    let path = cluster.dir().join("again");
    let mount =
        Mount::start(Command::new(binaries::cairn()), cluster.meta_endpoint(), &path, "", &cluster.log("first"))?;
    std::fs::write(mount.join("f"), "text")?;
    run::check(cairn(&["sync"]).arg(&path))?;
    mount.leave_dead()?;
    ensure!(std::fs::read_dir(&path).is_err_and(|error| error.raw_os_error() == Some(nix::libc::ENOTCONN)));
    let mount =
        Mount::start(Command::new(binaries::cairn()), cluster.meta_endpoint(), &path, "", &cluster.log("second"))?;
    ensure!(std::fs::read_to_string(mount.join("f"))? == "text");
    mount.unmount()?;
    ensure!(!is_mounted(&path)?);
    Ok(())
}
