//! `cairn-locker DIR`: a process that locks files of DIR as it is told on stdin, for [`cairn_tests::locker`]. One line in, one line out:
//!
//! | line | answer |
//! |---|---|
//! | `open NAME`, `opendir NAME` | `ok`; files and directories are numbered from 0 in the order in which they are opened |
//! | `close FILE` | `ok` |
//! | `set`, `ofd` `FILE read\|write\|unlock START LENGTH [wait]` | `ok`: `fcntl(2)`, of the process or of the open file |
//! | `get FILE read\|write START LENGTH` | `free`, or the kind, start and length of what is in the way |
//! | `flock FILE read\|write\|unlock [wait]` | `ok`: `flock(2)` |
//! | `write FILE OFFSET TEXT`, `read FILE OFFSET LENGTH` | `ok`, or the text |
//! | `fsync FILE` | `ok` |
//! | `stat NAME`, `look NAME`, `mkdir NAME`, `remove NAME` | `ok`; `look` is an `open(2)` for reading and a `close(2)` |
//!
//! or the name of an errno. A signal of kind `USR1` interrupts it, and does nothing else. The calls of the last two rows are made once, whatever
//! comes of them.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::Mode;

extern "C" fn nothing(_: i32) {}

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).context("usage: cairn-locker DIR")?;
    // Without SA_RESTART: a call that waits returns.
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, so it does nothing that a handler may not do.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.context("handle SIGUSR1")?;
    let mut locker = Locker { dir: PathBuf::from(dir), files: Vec::new() };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match locker.run(&words)? {
            Ok(answer) => answer,
            Err(errno) => format!("{errno:?}"),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}").and_then(|()| out.flush())?;
    }
    Ok(())
}

type Answer = nix::Result<String>;

struct Locker {
    dir: PathBuf,
    files: Vec<Option<File>>,
}

impl Locker {
    fn run(&mut self, words: &[&str]) -> Result<Answer> {
        Ok(match *words {
            ["open", name] => answer(open(&self.dir.join(name)).map(|file| self.files.push(Some(file)))),
            ["opendir", name] => answer(io(File::open(self.dir.join(name))).map(|dir| self.files.push(Some(dir)))),
            ["close", file] => {
                drop(self.files.get_mut(file.parse::<usize>()?).and_then(Option::take).context("not open")?);
                answer(Ok(()))
            }
            ["set", file, kind, start, len, ref wait @ ..] => {
                let command = if wait.is_empty() { libc::F_SETLK } else { libc::F_SETLKW };
                self.fcntl(file, command, &mut range(kind, start, len)?)?
            }
            ["ofd", file, kind, start, len, ref wait @ ..] => {
                let command = if wait.is_empty() { libc::F_OFD_SETLK } else { libc::F_OFD_SETLKW };
                self.fcntl(file, command, &mut range(kind, start, len)?)?
            }
            ["get", file, kind, start, len] => {
                let mut found = range(kind, start, len)?;
                self.fcntl(file, libc::F_GETLK, &mut found)?.map(|_| describe(&found))
            }
            ["flock", file, kind, ref wait @ ..] => {
                let operation = match kind {
                    "read" => libc::LOCK_SH,
                    "write" => libc::LOCK_EX,
                    _ => libc::LOCK_UN,
                };
                let operation = if wait.is_empty() { operation | libc::LOCK_NB } else { operation };
                // SAFETY: nothing but integers is passed, and the descriptor is open.
                let result = unsafe { libc::flock(self.file(file)?.as_raw_fd(), operation) };
                answer(Errno::result(result).map(drop))
            }
            ["write", file, offset, text] => {
                answer(io(self.file(file)?.write_all_at(text.as_bytes(), offset.parse()?)))
            }
            ["read", file, offset, len] => {
                let mut bytes = vec![0; len.parse()?];
                let read = io(self.file(file)?.read_at(&mut bytes, offset.parse()?));
                read.map(|n| String::from_utf8_lossy(&bytes[..n]).into_owned())
            }
            ["fsync", file] => answer(nix::unistd::fsync(self.file(file)?)),
            ["stat", name] => answer(nix::sys::stat::stat(&self.dir.join(name)).map(drop)),
            ["look", name] => answer(nix::fcntl::open(&self.dir.join(name), OFlag::O_RDONLY, Mode::empty()).map(drop)),
            ["mkdir", name] => answer(nix::unistd::mkdir(&self.dir.join(name), Mode::S_IRWXU)),
            ["remove", name] => answer(nix::unistd::unlink(&self.dir.join(name))),
            _ => bail!("not understood: {words:?}"),
        })
    }

    fn file(&self, number: &str) -> Result<&File> {
        self.files.get(number.parse::<usize>()?).and_then(Option::as_ref).context("not open")
    }

    fn fcntl(&self, file: &str, command: i32, range: &mut libc::flock) -> Result<Answer> {
        // SAFETY: the descriptor is open, and `range` is valid for reading and writing during the call.
        let result = unsafe { libc::fcntl(self.file(file)?.as_raw_fd(), command, std::ptr::from_mut(range)) };
        Ok(answer(Errno::result(result).map(drop)))
    }
}

fn open(path: &Path) -> nix::Result<File> {
    io(OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path))
}

fn io<T>(result: std::io::Result<T>) -> nix::Result<T> {
    result.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

fn answer(result: nix::Result<()>) -> Answer {
    result.map(|()| "ok".to_owned())
}

fn range(kind: &str, start: &str, len: &str) -> Result<libc::flock> {
    let kind = match kind {
        "read" => libc::F_RDLCK,
        "write" => libc::F_WRLCK,
        "unlock" => libc::F_UNLCK,
        _ => bail!("no kind of lock: {kind}"),
    };
    let (l_start, l_len) = (start.parse()?, len.parse()?);
    Ok(libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start, l_len, l_pid: 0 })
}

fn describe(found: &libc::flock) -> String {
    let kind = match i32::from(found.l_type) {
        libc::F_UNLCK => return "free".to_owned(),
        libc::F_RDLCK => "read",
        _ => "write",
    };
    format!("{kind} {} {}", found.l_start, found.l_len)
}
