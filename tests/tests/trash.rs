//! The trash: what is removed is kept for as long as its directory says, and comes back as it was.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests, and of the file system's own rename"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cairn_tests::cluster::Cluster;
use cairn_tests::mount::Mount;
use cairn_tests::{pattern, run};

const SETTLE: Duration = Duration::from_secs(60);
/// Somebody who is not root.
const NOBODY: u32 = 65_534;

/// A cluster and a mount whose directory `kept` keeps what is removed for an hour.
fn keeping() -> (Cluster, Mount) {
    let cluster = Cluster::start().unwrap();
    let mount = cluster.mount().unwrap();
    fs::create_dir(mount.join("kept")).unwrap();
    set_trash(&cluster, "/kept", "1h");
    (cluster, mount)
}

fn set_trash(cluster: &Cluster, path: &str, time: &str) {
    done(cluster, &["policy", "set", path, "--trash", time]);
}

/// Runs `cairn`, wants success, and answers what it printed.
fn done(cluster: &Cluster, args: &[&str]) -> String {
    let output = cluster.cairn(args).unwrap();
    assert!(output.status.success(), "cairn {args:?}: {}\n{}", output.status, run::printed(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `cairn`, wants failure with one line, and answers that.
fn refused(cluster: &Cluster, args: &[&str]) -> String {
    let output: Output = cluster.cairn(args).unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "cairn {args:?} went well: {}", run::printed(&output));
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    text
}

/// What is in the trash, in the order of removal.
fn listed(cluster: &Cluster, below: &[&str]) -> Vec<serde_json::Value> {
    let list = cluster.cairn_json(&[&["trash", "list"], below].concat()).unwrap();
    list.as_array().unwrap().clone()
}

fn paths(cluster: &Cluster, below: &[&str]) -> Vec<String> {
    listed(cluster, below).iter().map(|entry| entry["path"].as_str().unwrap_or("?").to_owned()).collect()
}

fn counted(cluster: &Cluster) -> (u64, u64) {
    let status = cluster.cairn_json(&["status"]).unwrap();
    let trash = &status["trash"];
    (trash["entries"].as_u64().unwrap(), trash["bytes"].as_u64().unwrap())
}

fn set_xattr(path: &Path, name: &str, value: &str) {
    run::check(Command::new("setfattr").args(["-n", name, "-v", value]).arg(path)).unwrap();
}

fn xattr(path: &Path, name: &str) -> String {
    run::check(Command::new("getfattr").args(["--only-values", "-n", name]).arg(path)).unwrap()
}

/// What a tree looks like: paths, types, modes, owners, times of modification, contents.
fn picture(dir: &Path) -> String {
    run::shell(
        dir,
        "find . -printf '%P %y %m %U:%G %l %T@\\n' | sort; find . -type f -print0 | sort -z | xargs -0 -r sha256sum",
    )
    .unwrap()
}

#[test]
fn a_removed_file_comes_back_as_it_was() {
    let (cluster, mount) = keeping();
    let path = mount.join("kept/file");
    let content = pattern::bytes(7, 300_000);
    fs::write(&path, &content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&path, Some(1000), Some(1001)).unwrap();
    set_xattr(&path, "user.colour", "red");
    File::open(&path).unwrap().sync_all().unwrap();
    let before = fs::metadata(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(paths(&cluster, &[]), ["/kept/file"]);
    assert_eq!(listed(&cluster, &["/kept"])[0]["size"], 300_000);
    assert_eq!(listed(&cluster, &["/other"]).len(), 0);
    assert!(counted(&cluster) >= (1, 300_000), "{:?}", counted(&cluster));
    let status = done(&cluster, &["status"]);
    assert!(status.contains("trash     1 entry with "), "{status}");
    assert!(done(&cluster, &["df"]).contains("in the trash, and not free: 1 entry"));

    done(&cluster, &["trash", "restore", "/kept/file"]);
    let after = fs::metadata(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), content);
    let seen = |m: &fs::Metadata| (m.ino(), m.mode(), m.uid(), m.gid(), m.size(), m.mtime(), m.mtime_nsec(), m.nlink());
    assert_eq!(seen(&after), seen(&before));
    assert_eq!(xattr(&path, "user.colour"), "red");
    assert_eq!(counted(&cluster), (0, 0));
    // It is a file like any other.
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    assert_eq!(fs::read(&path).unwrap(), [&content[..], b"more"].concat());
    let other = cluster.mount().unwrap();
    assert_eq!(fs::read(other.join("kept/file")).unwrap().len(), 300_004);
    other.unmount().unwrap();
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn a_removed_tree_comes_back_whole() {
    let (cluster, mount) = keeping();
    let tree = mount.join("kept/tree");
    fs::create_dir_all(tree.join("a/b/empty")).unwrap();
    for i in 0..300 {
        fs::write(tree.join(format!("a/f{i}")), format!("file {i}")).unwrap();
    }
    fs::write(tree.join("a/b/large"), pattern::bytes(3, 2 << 20)).unwrap();
    symlink("a/b/large", tree.join("link")).unwrap();
    fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o2750)).unwrap();
    set_xattr(&tree.join("a"), "user.kind", "branch");
    fs::write(mount.join("kept/beside"), "not asked for").unwrap();
    // These were gone before the rest, as what came after them shows.
    fs::write(tree.join("old"), "old").unwrap();
    fs::remove_file(tree.join("old")).unwrap();
    fs::write(tree.join("a/f7"), "file 7").unwrap();
    fs::write(tree.join("new"), "new").unwrap();
    run::check(Command::new("sync").arg(&tree)).unwrap();
    let before = picture(&tree);
    run::shell(mount.path(), "rm -r kept/tree kept/beside").unwrap();
    assert!(!tree.exists());

    let said = done(&cluster, &["trash", "restore", "/kept/tree"]);
    assert!(said.contains("1 entry of earlier removals"), "{said}");
    assert_eq!(strip_directory_times(&picture(&tree)), strip_directory_times(&before));
    assert_eq!(xattr(&tree.join("a"), "user.kind"), "branch");
    assert!(!mount.join("kept/beside").exists(), "only what was asked for");
    assert_eq!(paths(&cluster, &["/kept/tree"]), ["/kept/tree/old"]);
    done(&cluster, &["trash", "restore", "/kept/tree", "--all"]);
    assert_eq!(fs::read_to_string(tree.join("old")).unwrap(), "old");
    // And again: what was restored can be removed and restored.
    run::shell(mount.path(), "rm -r kept/tree").unwrap();
    done(&cluster, &["trash", "restore", "/kept/tree", "--all"]);
    assert_eq!(fs::read_dir(tree.join("a")).unwrap().count(), 301);
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

/// What is restored into a directory is a change of it.
fn strip_directory_times(picture: &str) -> Vec<String> {
    let strip = |line: &str| match line.split_whitespace().nth(1) {
        Some("d") => line.rsplit_once(' ').map_or(line, |(rest, _)| rest).to_owned(),
        _ => line.to_owned(),
    };
    // The top has an empty path.
    picture.lines().filter(|line| !line.starts_with(" d ")).map(strip).collect()
}

#[test]
fn directories_inherit_how_long_they_keep_and_off_keeps_nothing() {
    let (cluster, mount) = keeping();
    fs::create_dir_all(mount.join("kept/sub/deep")).unwrap();
    fs::create_dir(mount.join("kept/off")).unwrap();
    set_trash(&cluster, "/kept/off", "off");
    fs::create_dir(mount.join("kept/off/below")).unwrap();
    let shown = |path: &str| cluster.cairn_json(&["policy", "show", path]).unwrap()["trash_s"].as_u64();
    assert_eq!(shown("/kept/sub/deep"), Some(3600));
    assert_eq!((shown("/kept/off"), shown("/kept/off/below"), shown("/")), (Some(0), Some(0), Some(0)));
    assert!(done(&cluster, &["policy", "show", "/kept"]).contains("what is removed is kept for 1h"));
    for path in ["kept/sub/deep/f", "kept/off/below/f", "f"] {
        fs::write(mount.join(path), "x").unwrap();
        fs::remove_file(mount.join(path)).unwrap();
    }
    assert_eq!(paths(&cluster, &[]), ["/kept/sub/deep/f"]);
    let said = |args: &[&str]| done(&cluster, &[&["policy", "set", "/kept", "--trash", "2h"], args].concat());
    assert!(said(&[]).contains("with --recursive for all that is below already"));
    assert_eq!((shown("/kept"), shown("/kept/sub/deep")), (Some(7200), Some(3600)));
    assert!(!said(&["--recursive"]).contains("--recursive"));
    assert_eq!((shown("/kept/sub/deep"), shown("/kept/off/below")), (Some(7200), Some(7200)));
    fs::write(mount.join("kept/file"), "x").unwrap();
    assert!(refused(&cluster, &["policy", "set", "/kept/file", "--trash", "1h"]).contains("not a directory"));
    assert!(run::printed(&cluster.cairn(&["policy", "set", "/kept", "--trash", "soon"]).unwrap()).contains("as in 7d"));
    assert_eq!(shown("/kept/file"), None);
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn what_has_expired_frees_its_space() {
    let (cluster, mount) = keeping();
    set_trash(&cluster, "/kept", "10s");
    fs::create_dir(mount.join("kept/dir")).unwrap();
    fs::write(mount.join("kept/dir/file"), pattern::bytes(1, 1 << 20)).unwrap();
    run::check(Command::new("sync").arg(mount.join("kept/dir/file"))).unwrap();
    let chunks = || cluster.cairn_json(&["status"]).unwrap()["chunks"]["total"].as_u64().unwrap();
    let begin = Instant::now();
    run::shell(mount.path(), "rm -r kept/dir").unwrap();
    assert_eq!(paths(&cluster, &[]), ["/kept/dir/file", "/kept/dir"]);
    while begin.elapsed() < Duration::from_secs(8) {
        assert!(chunks() > 0, "gone after {:?}", begin.elapsed());
    }
    run::wait_until("the trash is empty", SETTLE, || Ok(counted(&cluster) == (0, 0))).unwrap();
    run::wait_until("its chunks are gone", SETTLE, || Ok(chunks() == 0)).unwrap();
    assert!(refused(&cluster, &["trash", "restore", "/kept/dir"]).contains("is in the trash"));
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn a_metaserver_that_is_killed_forgets_nothing_of_it() {
    let (mut cluster, mount) = keeping();
    for round in 0..3 {
        let dir = mount.join(&format!("kept/d{round}"));
        fs::create_dir(&dir).unwrap();
        for i in 0..50 {
            fs::write(dir.join(format!("f{i}")), format!("{round} {i}")).unwrap();
        }
        run::shell(mount.path(), &format!("sync kept/d{round}/*; rm -r kept/d{round}")).unwrap();
        cluster.kill_meta().unwrap();
        cluster.start_meta().unwrap();
    }
    let of = |round: usize| format!("/kept/d{round}");
    run::wait_until("all was sent", SETTLE, || Ok(listed(&cluster, &[]).len() == 3 * 51)).unwrap();
    done(&cluster, &["trash", "restore", &of(1)]);
    cluster.kill_meta().unwrap();
    cluster.start_meta().unwrap();
    for i in 0..50 {
        assert_eq!(fs::read_to_string(mount.join(&format!("kept/d1/f{i}"))).unwrap(), format!("1 {i}"));
    }
    assert_eq!(listed(&cluster, &[]).len(), 2 * 51);
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn what_was_removed_ahead_in_a_delegated_directory_is_kept() {
    let (cluster, mount) = keeping();
    let dir = mount.join("kept/mine");
    fs::create_dir(&dir).unwrap();
    // Enough of it that the mount does most of it by itself.
    for i in 0..1500 {
        fs::write(dir.join(format!("f{i}")), format!("content {i}")).unwrap();
    }
    run::check(Command::new(cairn_tests::binaries::cairn()).arg("sync").arg(mount.path())).unwrap();
    for i in 0..1500 {
        fs::remove_file(dir.join(format!("f{i}"))).unwrap();
    }
    fs::write(dir.join("replaced"), "old").unwrap();
    fs::write(dir.join("by"), "new").unwrap();
    run::check(Command::new(cairn_tests::binaries::cairn()).arg("sync").arg(mount.path())).unwrap();
    fs::rename(dir.join("by"), dir.join("replaced")).unwrap();
    // Without waiting: commands see what clients have done.
    assert_eq!(listed(&cluster, &["/kept/mine"]).len(), 1501);
    // Into a directory that the mount has for itself.
    for i in [3, 700, 1499] {
        done(&cluster, &["trash", "restore", &format!("/kept/mine/f{i}")]);
        assert_eq!(fs::read_to_string(dir.join(format!("f{i}"))).unwrap(), format!("content {i}"));
        fs::write(dir.join(format!("between{i}")), "x").unwrap();
    }
    let elsewhere = mount.join("kept/elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    done(&cluster, &["trash", "restore", "/kept/mine/replaced", "--to", "/kept/elsewhere"]);
    assert_eq!(fs::read_to_string(elsewhere.join("replaced")).unwrap(), "old");
    assert_eq!(fs::read_to_string(dir.join("replaced")).unwrap(), "new");
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn what_was_written_a_moment_before_it_was_removed_is_kept() {
    let (cluster, mount) = keeping();
    let dir = mount.join("kept/quick");
    fs::create_dir(&dir).unwrap();
    for i in 0..400 {
        let path = dir.join(format!("f{i}"));
        fs::write(&path, format!("content {i}")).unwrap();
        fs::remove_file(&path).unwrap();
    }
    run::check(Command::new(cairn_tests::binaries::cairn()).arg("sync").arg(mount.path())).unwrap();
    for i in (0..400).step_by(13) {
        done(&cluster, &["trash", "restore", &format!("/kept/quick/f{i}")]);
        assert_eq!(fs::read_to_string(dir.join(format!("f{i}"))).unwrap(), format!("content {i}"));
    }
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn an_open_file_without_a_name_is_as_ever() {
    let (cluster, mount) = keeping();
    let path = mount.join("kept/open");
    let mut file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    file.write_all(b"before").unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    file.write_all(b" and after").unwrap();
    file.sync_all().unwrap();
    let mut text = String::new();
    File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "before and after");
    assert_eq!(listed(&cluster, &[])[0]["size"], 16);
    // Restored while it is open, it is the same file.
    done(&cluster, &["trash", "restore", "/kept/open"]);
    file.write_all(b"!").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "before and after!");
    // Emptied while it is open, it lives until it is closed.
    fs::remove_file(&path).unwrap();
    done(&cluster, &["trash", "empty", "--yes"]);
    file.write_all(b"?").unwrap();
    file.sync_all().unwrap();
    assert_eq!(file.metadata().unwrap().len(), 18);
    drop(file);
    let inodes = || cluster.cairn_json(&["status"]).unwrap()["fs"]["inodes"].as_u64();
    run::wait_until("it is gone", SETTLE, || Ok(inodes() == Some(2))).unwrap();
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn only_the_last_link_goes_there() {
    let (cluster, mount) = keeping();
    fs::write(mount.join("kept/one"), "x").unwrap();
    fs::hard_link(mount.join("kept/one"), mount.join("kept/two")).unwrap();
    fs::remove_file(mount.join("kept/one")).unwrap();
    assert_eq!(listed(&cluster, &[]).len(), 0);
    fs::remove_file(mount.join("kept/two")).unwrap();
    assert_eq!(paths(&cluster, &[]), ["/kept/two"]);
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn of_several_of_a_name_the_last_or_the_one_that_is_asked_for() {
    let (cluster, mount) = keeping();
    let path = mount.join("kept/name");
    for text in ["first", "second", "third"] {
        fs::write(&path, text).unwrap();
        run::check(Command::new("sync").arg(&path)).unwrap();
        fs::remove_file(&path).unwrap();
    }
    let first = listed(&cluster, &[])[0]["inode"].as_u64().unwrap().to_string();
    done(&cluster, &["trash", "restore", "/kept/name"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "third");
    // Nothing is overwritten.
    let said = refused(&cluster, &["trash", "restore", "/kept/name"]);
    assert!(said.contains("/kept/name exists"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "third");
    assert_eq!(listed(&cluster, &[]).len(), 2);
    fs::rename(&path, mount.join("kept/aside")).unwrap();
    done(&cluster, &["trash", "restore", "/kept/name", "--inode", &first]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    assert!(refused(&cluster, &["trash", "restore", "/kept/never"]).contains("is in the trash"));
    assert!(refused(&cluster, &["trash", "restore", "/kept/name", "--inode", "1"]).contains("is in the trash"));
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn nothing_outside_of_what_was_asked_for_is_made() {
    let (cluster, mount) = keeping();
    fs::create_dir_all(mount.join("kept/a/b")).unwrap();
    fs::write(mount.join("kept/a/b/f"), "x").unwrap();
    run::shell(mount.path(), "sync kept/a/b/f; rm -r kept/a").unwrap();
    let said = refused(&cluster, &["trash", "restore", "/kept/a/b/f"]);
    assert!(said.contains("the directory that it was in is gone"), "{said}");
    done(&cluster, &["trash", "restore", "/kept/a/b", "--to", "/kept"]);
    assert_eq!(fs::read_to_string(mount.join("kept/b/f")).unwrap(), "x");
    assert!(!mount.join("kept/a").exists());
    done(&cluster, &["trash", "restore", "/kept/a"]);
    assert_eq!(fs::read_dir(mount.join("kept/a")).unwrap().count(), 0);
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn it_is_emptied_of_what_is_asked_for() {
    let (cluster, mount) = keeping();
    run::shell(
        mount.path(),
        "mkdir kept/d; echo 1 > kept/d/f; echo 2 > kept/g; sync kept/d/f kept/g; rm -r kept/d kept/g",
    )
    .unwrap();
    assert!(done(&cluster, &["trash", "empty", "--older-than", "1h"]).contains("0 entries"));
    assert!(done(&cluster, &["trash", "empty", "/kept/d"]).contains("2 entries"));
    assert_eq!(paths(&cluster, &[]), ["/kept/g"]);
    // By a path on the mount, of which nothing is there any more.
    let cairn = |args: &[&str]| run::output(Command::new(cairn_tests::binaries::cairn()).args(args)).unwrap();
    let path = mount.join("kept/nothing/g");
    let output = cairn(&["trash", "restore", path.to_str().unwrap()]);
    assert!(!output.status.success() && run::printed(&output).contains("is in the trash"), "{}", run::printed(&output));
    let path = mount.join("kept/g");
    let output = cairn(&["trash", "restore", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", run::printed(&output));
    assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
    fs::remove_file(&path).unwrap();
    assert!(done(&cluster, &["trash", "empty"]).contains("1 entry"));
    assert_eq!(done(&cluster, &["trash", "list"]), "nothing that was removed is kept\n");
    let inodes = || cluster.cairn_json(&["status"]).unwrap()["fs"]["inodes"].as_u64();
    run::wait_until("all is freed", SETTLE, || Ok(inodes() == Some(2))).unwrap();
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

#[test]
fn root_looks_around_in_it_and_changes_nothing_but_by_removing() {
    let (cluster, mount) = keeping();
    run::shell(mount.path(), "mkdir kept/d; echo text > kept/d/f; ln -s target kept/d/l; sync kept/d/f; rm -r kept/d")
        .unwrap();
    let trash = mount.join(".trash");
    assert!(!fs::read_dir(mount.path()).unwrap().any(|entry| entry.unwrap().file_name() == ".trash"));
    assert_eq!(fs::metadata(&trash).unwrap().mode(), 0o040_700);
    let names = || -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&trash).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let named = |end: &str| names().into_iter().find(|name| name.ends_with(end)).unwrap();
    assert_eq!(names().len(), 3, "{:?}", names());
    let file = trash.join(named("|kept|d|f"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "text\n");
    assert_eq!(fs::read_link(trash.join(named("|kept|d|l"))).unwrap(), Path::new("target"));
    let dir = trash.join(named("|kept|d"));
    assert!(fs::metadata(&dir).unwrap().is_dir());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "what was in it has an entry of its own");
    run::shell(mount.path(), "ls -l .trash > /dev/null; stat .trash/* > /dev/null; cat .trash/*f > /dev/null").unwrap();

    // Nothing is changed through it.
    let read_only = |result: std::io::Result<()>| assert_eq!(result.unwrap_err().raw_os_error(), Some(libc_erofs()));
    read_only(OpenOptions::new().write(true).open(&file).map(drop));
    read_only(fs::write(trash.join("new"), "x"));
    read_only(fs::create_dir(trash.join("new")));
    read_only(fs::create_dir(dir.join("new")));
    read_only(fs::set_permissions(&file, fs::Permissions::from_mode(0o777)));
    read_only(fs::rename(&file, mount.join("kept/f")));
    read_only(fs::rename(mount.join("kept"), trash.join("kept")));
    read_only(fs::hard_link(&file, mount.join("kept/f")));
    // Nobody else may look.
    let output = Command::new("ls").arg(&trash).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert!(!output.status.success(), "{}", run::printed(&output));
    let output = Command::new("cat").arg(&file).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert!(!output.status.success(), "{}", run::printed(&output));

    fs::remove_file(&file).unwrap();
    assert_eq!(names().len(), 2);
    assert_eq!(paths(&cluster, &[]), ["/kept/d/l", "/kept/d"]);
    run::shell(mount.path(), "rm -r .trash/*").unwrap();
    assert_eq!(counted(&cluster), (0, 0));

    // The name is taken.
    assert_eq!(fs::create_dir(&trash).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(fs::rename(mount.join("kept"), &trash).is_err());
    assert!(fs::remove_dir(&trash).is_err());
    fs::create_dir(mount.join("kept/.trash")).unwrap();
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}

fn libc_erofs() -> i32 {
    nix::libc::EROFS
}

#[test]
fn long_paths_are_cut_from_the_left_and_many_entries_are_all_listed() {
    let (cluster, mount) = keeping();
    let deep = mount.join("kept").join("d".repeat(200)).join("e".repeat(200));
    fs::create_dir_all(&deep).unwrap();
    for i in 0..1300 {
        fs::write(deep.join(format!("f{i}")), "").unwrap();
    }
    run::shell(mount.path(), "rm -r kept/d*").unwrap();
    assert_eq!(listed(&cluster, &[]).len(), 1302);
    let names: Vec<_> = fs::read_dir(mount.join(".trash"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 1302);
    assert!(names.iter().all(|name| name.len() <= 255));
    let one = names.iter().find(|name| name.ends_with("e|f77")).unwrap();
    assert!(fs::metadata(mount.join(".trash").join(one)).unwrap().is_file());
    mount.unmount().unwrap();
    cluster.assert_fsck_clean().unwrap();
}
