//! Attributes: mode, owner, times and extended ones, set by one and looked at by the others.

use std::ffi::CString;
use std::fs::{File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{UtimensatFlags, futimens, utimensat};
use nix::sys::time::TimeSpec;

use super::{Stat, Views, each_round};

/// By name or through an open file, and seen in both ways.
pub fn set(views: &Views, rounds: u64) -> Result<()> {
    File::create_new(views.roots[0].join("f"))?;
    let opened = views.open_all_to_read("f")?;
    let mut want = views.stat(0, "f")?;
    each_round(rounds, |n| {
        let look = |want: &Stat| {
            for view in views.others(n) {
                let got = Stat::of_open(&opened[view])?;
                // The change of a change is not known beforehand.
                let want = Stat { ctime: got.ctime, ..want.clone() };
                ensure!(got == want, "mount {view}: open, it is\n  {got:?}, not\n  {want:?}");
            }
            let got = views.stat(n, "f")?;
            ensure!(got == Stat { ctime: got.ctime, ..want.clone() }, "by name, it is\n  {got:?}, not\n  {want:?}");
            Ok(())
        };
        look(&want).context("before")?;
        let (path, file) = (views.acting(n).join("f"), &opened[views.actor(n)]);
        let id = (n % 60_000) as u32;
        match n % 6 {
            0 | 1 => {
                let mode = if n % 12 < 6 { 0o640 } else { 0o4711 };
                let permissions = Permissions::from_mode(mode);
                if n % 6 == 0 {
                    std::fs::set_permissions(path, permissions)?
                } else {
                    file.set_permissions(permissions)?
                }
                want.mode = want.mode & !0o7777 | mode;
            }
            2 => {
                chown(path, Some(id), Some(id + 1))?;
                want.owner = (id, id + 1);
                // Whoever is given a file is not given the rights of the one before.
                want.mode &= !0o4000;
            }
            3 => {
                let length = n % 5_000;
                File::options().write(true).open(path)?.set_len(length)?;
                want.size = length;
                want.mtime = Stat::of_open(file)?.mtime;
            }
            4 | 5 => {
                let time = TimeSpec::new(n as i64 * 1_000, (n as i64 * 99_991) % 1_000_000_000);
                if n % 6 == 4 {
                    futimens(file, &time, &time)?;
                } else {
                    utimensat(nix::fcntl::AT_FDCWD, &path, &time, &time, UtimensatFlags::NoFollowSymlink)?;
                }
                want.mtime = (time.tv_sec(), time.tv_nsec());
            }
            _ => {}
        }
        look(&want)
    })
}

/// An extended attribute is set, changed and removed; others read and list it.
pub fn extended(views: &Views, rounds: u64) -> Result<()> {
    File::create_new(views.roots[0].join("x"))?;
    let mut there: [Option<Vec<u8>>; 3] = Default::default();
    each_round(rounds, |n| {
        let which = (n % 3) as usize;
        let names = ["user.a", "user.b", "user.c"];
        let look = |there: &[Option<Vec<u8>>; 3]| {
            for looking in views.looking(n) {
                let path = looking.join("x");
                let got = get(&path, names[which]);
                let want = there[which].clone().ok_or(Errno::ENODATA);
                ensure!(got == want, "{} is {got:?}, not {want:?}", names[which]);
                let mut listed = list(&path)?;
                listed.sort_unstable();
                let want = names.iter().zip(there).filter(|(_, value)| value.is_some());
                let want: Vec<String> = want.map(|(name, _)| (*name).to_owned()).collect();
                ensure!(listed == want, "listed are {listed:?}, not {want:?}");
            }
            Ok(())
        };
        look(&there).context("before")?;
        let path = views.acting(n).join("x");
        if n % 4 == 3 && there[which].is_some() {
            remove(&path, names[which])?;
            there[which] = None;
        } else {
            let value = format!("value {n}").into_bytes();
            put(&path, names[which], &value)?;
            there[which] = Some(value);
        }
        look(&there)?;
        views.stat(n, "x").map(drop)
    })
}

fn c_string(bytes: &[u8]) -> nix::Result<CString> {
    CString::new(bytes).map_err(|_| Errno::EINVAL)
}

fn put(path: &Path, name: &str, value: &[u8]) -> nix::Result<()> {
    let (path, name) = (c_string(path.as_os_str().as_bytes())?, c_string(name.as_bytes())?);
    // SAFETY: the strings end with a zero, and the value is as long as said.
    Errno::result(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) })
        .map(drop)
}

fn remove(path: &Path, name: &str) -> nix::Result<()> {
    let (path, name) = (c_string(path.as_os_str().as_bytes())?, c_string(name.as_bytes())?);
    // SAFETY: the strings end with a zero.
    Errno::result(unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) }).map(drop)
}

fn get(path: &Path, name: &str) -> nix::Result<Vec<u8>> {
    let (path, name) = (c_string(path.as_os_str().as_bytes())?, c_string(name.as_bytes())?);
    let mut value = vec![0u8; 100];
    // SAFETY: the strings end with a zero, and the buffer is as long as said.
    let n = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(Errno::result(n)? as usize);
    Ok(value)
}

fn list(path: &Path) -> nix::Result<Vec<String>> {
    let path = c_string(path.as_os_str().as_bytes())?;
    let mut names = vec![0u8; 1000];
    // SAFETY: the string ends with a zero, and the buffer is as long as said.
    let n = unsafe { libc::listxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(Errno::result(n)? as usize);
    let names = names.split(|byte| *byte == 0).map(|name| String::from_utf8_lossy(name).into_owned());
    // Others may be there that the system itself sets.
    Ok(names.filter(|name| name.starts_with("user.")).collect())
}
