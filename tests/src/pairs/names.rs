//! Names: made, looked up, listed, moved, linked and removed.

#![allow(clippy::disallowed_methods, reason = "the file system's own rename is what is tested")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::dir::Dir;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::Mode;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Stat, Views, absent, each_round};

/// Names are used again: each is known to be absent when it is made, and to be there when it is removed.
const NAMES: u64 = 8;

/// Looked up, made, looked up, removed, looked up; things of all kinds.
pub fn made_and_removed(views: &Views, rounds: u64) -> Result<()> {
    fs::write(views.roots[0].join("linked"), "bytes")?;
    each_round(rounds, |n| {
        let name = format!("n{}", n % NAMES);
        let path = views.acting(n).join(&name);
        for looking in views.looking(n) {
            absent("before it is made", looking.join(&name).symlink_metadata())?;
        }
        match n % 5 {
            0 => drop(File::create_new(&path)?),
            1 => fs::create_dir(&path)?,
            2 => symlink("nowhere", &path)?,
            3 => fs::hard_link(views.acting(n).join("linked"), &path)?,
            _ => nix::unistd::mkfifo(&path, Mode::S_IRUSR)?,
        }
        views.stat(n, &name).context("after it was made")?;
        for looking in views.looking(n) {
            let again = File::create_new(looking.join(&name)).map(drop);
            let kind = again.err().map(|error| error.kind());
            ensure!(kind == Some(ErrorKind::AlreadyExists), "made again: {kind:?}");
        }
        // Removed by one of the others.
        let remover = n + 1;
        let path = views.acting(remover).join(&name);
        if n % 5 == 1 { fs::remove_dir(path) } else { fs::remove_file(path) }.context("remove it")?;
        for looking in views.looking(remover).chain([views.acting(remover)]) {
            absent("stat after it was removed", looking.join(&name).symlink_metadata())?;
            absent("open after it was removed", File::open(looking.join(&name)))?;
        }
        Ok(())
    })
}

/// A file that others have open is removed: none can open it any more, and those that had it open have it still.
pub fn removed_while_open(views: &Views, rounds: u64) -> Result<()> {
    each_round(rounds, |n| {
        let name = format!("u{}", n % NAMES);
        let text = format!("file of round {n}");
        fs::write(views.acting(n).join(&name), &text).context("make it")?;
        let open = |looking: &Path| File::open(looking.join(&name)).context("open what was just made");
        let opened = views.looking(n).map(open).collect::<Result<Vec<_>>>()?;
        let before = views.stat(n, &name)?;
        ensure!(before.nlink == 1 && before.size == text.len() as u64, "made: {before:?}");
        fs::remove_file(views.acting(n).join(&name)).context("remove it")?;
        for (looking, file) in views.looking(n).zip(&opened) {
            absent("open after it was removed", File::open(looking.join(&name)))?;
            let nlink = Stat::of_open(file)?.nlink;
            ensure!(nlink == 0, "the open file has {nlink} names");
            let mut bytes = vec![0; text.len()];
            file.read_exact_at(&mut bytes, 0).context("read the open file")?;
            ensure!(bytes == text.as_bytes(), "the open file has other bytes");
        }
        Ok(())
    })
}

/// A directory is listed while names come, go and move: by those that opened it once and rewind, and by those that open it again.
pub fn listed(views: &Views, rounds: u64) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut there: BTreeSet<String> = BTreeSet::new();
    for root in &views.roots {
        fs::create_dir_all(root.join("dir"))?;
    }
    let open = |root: &std::path::PathBuf| Dir::open(&root.join("dir"), OFlag::O_RDONLY, Mode::empty());
    let mut opened = views.roots.iter().map(open).collect::<nix::Result<Vec<_>>>()?;
    each_round(rounds, |n| {
        look(views, n, &mut opened, &there).context("before")?;
        let dir = views.acting(n).join("dir");
        let name = format!("{}", rng.random_range(0..12));
        let is_dir = |name: &str| name.ends_with(['1', '3', '5']);
        let moved = format!("moved{name}");
        if there.contains(&name) && rng.random() {
            fs::rename(dir.join(&name), dir.join(&moved)).context("rename")?;
            there.remove(&name);
            there.insert(moved);
        } else if let Some(name) = [moved, name.clone()].into_iter().find(|name| there.contains(name)) {
            let path = dir.join(&name);
            if is_dir(&name) { fs::remove_dir(path) } else { fs::remove_file(path) }.context("remove")?;
            there.remove(&name);
        } else {
            let path = dir.join(&name);
            if is_dir(&name) { fs::create_dir(path) } else { fs::write(path, "") }.context("make")?;
            there.insert(name);
        }
        look(views, n, &mut opened, &there)?;
        views.stat(n, "dir").map(drop)
    })
}

fn look(views: &Views, round: u64, opened: &mut [Dir], there: &BTreeSet<String>) -> Result<()> {
    for view in views.others(round) {
        let found: BTreeSet<String> = if round.is_multiple_of(3) {
            let entries = fs::read_dir(views.roots[view].join("dir"))?;
            entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect::<std::io::Result<_>>()?
        } else {
            // The end of an iteration is rewinddir(3).
            drop(opened[view].iter());
            let names = opened[view].iter().map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
            names.filter(|name| !matches!(name.as_deref(), Ok("." | ".."))).collect::<nix::Result<_>>()?
        };
        ensure!(found == *there, "mount {view} lists {found:?}, and there are {there:?}");
    }
    Ok(())
}

/// Files are moved, exchanged, and moved over others, by any mount.
pub fn moved(views: &Views, rounds: u64) -> Result<()> {
    for name in ["a", "b"] {
        fs::write(views.roots[0].join(name), "first")?;
    }
    each_round(rounds, |n| {
        let acting = views.acting(n);
        let opened = views.open_all_to_read("b").context("before")?;
        let (a, b) = (views.stat(n, "a")?.inode, views.stat(n, "b")?.inode);
        for looking in views.looking(n) {
            absent("c before", looking.join("c").metadata())?;
        }

        fs::rename(acting.join("a"), acting.join("c")).context("move a to c")?;
        for looking in views.looking(n) {
            absent("a that was moved", looking.join("a").metadata())?;
            absent("open a that was moved", File::open(looking.join("a")))?;
        }
        ensure!(views.stat(n, "c")?.inode == a, "c is not what a was");

        renameat2(AT_FDCWD, &acting.join("b"), AT_FDCWD, &acting.join("c"), RenameFlags::RENAME_EXCHANGE)?;
        let now = (views.stat(n, "b")?.inode, views.stat(n, "c")?.inode);
        ensure!(now == (a, b), "exchanged, b and c are {now:?}, not {a} and {b}");

        let text = format!("round {n}");
        fs::write(acting.join("a"), &text)?;
        let new = views.stat(n, "a")?.inode;
        fs::rename(acting.join("a"), acting.join("c")).context("move a over c")?;
        for (view, looking) in views.others(n).zip(views.looking(n)) {
            ensure!(Stat::of(&looking.join("c"))?.inode == new, "c is not what was moved over it");
            ensure!(fs::read_to_string(looking.join("c"))? == text, "c has other bytes than what was moved over it");
            absent("a that was moved over c", looking.join("a").metadata())?;
            let nlink = Stat::of_open(&opened[view])?.nlink;
            ensure!(nlink == 0, "what c was has {nlink} names");
        }
        fs::rename(acting.join("c"), acting.join("a")).context("move c to a")?;
        ensure!(views.stat(n, "a")?.inode == new, "a is not what c was");
        Ok(())
    })
}

/// Directories are moved and removed, with others inside of them.
pub fn directories_moved(views: &Views, rounds: u64) -> Result<()> {
    for dir in ["from", "to", "from/dir"] {
        fs::create_dir(views.roots[0].join(dir))?;
    }
    fs::write(views.roots[0].join("from/dir/file"), "inside")?;
    each_round(rounds, |n| {
        let (from, to) = if n % 2 == 0 { ("from/dir", "to/dir") } else { ("to/dir", "from/dir") };
        let acting = views.acting(n);
        for looking in views.looking(n) {
            ensure!(fs::read_to_string(looking.join(from).join("file"))? == "inside", "before");
            absent("before", looking.join(to).join("file").metadata())?;
        }
        let opened = views.looking(n).map(|l| File::open(l.join(from))).collect::<std::io::Result<Vec<_>>>()?;
        fs::rename(acting.join(from), acting.join(to)).context("move the directory")?;
        for (looking, dir) in views.looking(n).zip(&opened) {
            ensure!(fs::read_to_string(looking.join(to).join("file"))? == "inside", "after");
            absent("where it was", looking.join(from).join("file").metadata())?;
            let up = openat(dir, "../../to", OFlag::O_RDONLY, Mode::empty());
            up.context("through a directory that was moved")?;
        }
        ["from", "to"].into_iter().try_for_each(|dir| views.stat(n, dir).map(drop))?;

        fs::create_dir(acting.join("gone"))?;
        let opened = views.looking(n).map(|l| File::open(l.join("gone"))).collect::<std::io::Result<Vec<_>>>()?;
        fs::remove_dir(acting.join("gone"))?;
        for (looking, dir) in views.looking(n).zip(&opened) {
            absent("a directory that was removed", looking.join("gone").metadata())?;
            let inside = openat(dir, "new", OFlag::O_CREAT | OFlag::O_RDWR, Mode::S_IRWXU);
            absent("made in a directory that was removed", inside.map_err(Into::into))?;
            ensure!(Stat::of_open(dir)?.nlink == 0, "a removed directory that is open has names");
        }
        Ok(())
    })
}

/// A symbolic link is replaced by another one, and a file gets and loses second names.
pub fn linked(views: &Views, rounds: u64) -> Result<()> {
    for target in ["t0", "t1"] {
        fs::write(views.roots[0].join(target), target)?;
    }
    symlink("t1", views.roots[0].join("link"))?;
    let opened = views.open_all_to_read("t0")?;
    each_round(rounds, |n| {
        let acting = views.acting(n);
        let (old, new) = if n % 2 == 0 { ("t1", "t0") } else { ("t0", "t1") };
        let points_to = |target: &str| {
            views.looking(n).try_for_each(|looking| {
                let (link, text) = (fs::read_link(looking.join("link"))?, fs::read_to_string(looking.join("link"))?);
                ensure!(link == Path::new(target) && text == target, "link leads to {} with {text}", link.display());
                Ok(())
            })
        };
        points_to(old).context("before")?;
        symlink(new, acting.join("next"))?;
        fs::rename(acting.join("next"), acting.join("link"))?;
        points_to(new).context("after it was replaced")?;

        let names = |nlink: u64| {
            let stat = views.stat(n, "t0")?;
            ensure!(stat.nlink == nlink, "t0 has {} names, not {nlink}", stat.nlink);
            for view in views.others(n) {
                let open = Stat::of_open(&opened[view])?;
                ensure!(open == stat, "t0 is\n  {stat:?} by name, and\n  {open:?} to who has it open");
            }
            Ok(stat.inode)
        };
        names(1).context("before")?;
        fs::hard_link(acting.join("t0"), acting.join("second"))?;
        let inode = names(2).context("after it was linked")?;
        ensure!(views.stat(n, "second")?.inode == inode, "the second name leads elsewhere");
        fs::remove_file(acting.join("second"))?;
        names(1).context("after its second name was removed")?;
        views.looking(n).try_for_each(|l| absent("the second name", l.join("second").metadata()))
    })
}
