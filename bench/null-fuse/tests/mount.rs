//! The filesystem on a real mount: names and sizes are kept, data reads as zeros. Needs root and `/dev/fuse`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

const MOUNT_TIMEOUT: Duration = Duration::from_secs(10);

/// A mounted null filesystem; unmounted when dropped, also by a failing test.
struct Mount {
    process: Child,
    directory: tempfile::TempDir,
}

impl Mount {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let outside = fs::metadata(directory.path()).unwrap().dev();
        let process = Command::new(env!("CARGO_BIN_EXE_cairn-null-fuse")).arg(directory.path()).spawn().unwrap();
        let mount = Self { process, directory };
        let deadline = Instant::now() + MOUNT_TIMEOUT;
        while fs::metadata(mount.path()).unwrap().dev() == outside {
            assert!(Instant::now() < deadline, "the mount did not appear");
            sleep(Duration::from_millis(10));
        }
        mount
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

#[test]
fn names_and_sizes_are_kept_and_data_is_zeros() {
    if !geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        eprintln!("skipped: mounting needs root and /dev/fuse");
        return;
    }
    let mount = Mount::new();
    let file = mount.path().join("file");
    fs::write(&file, vec![7; 3 << 20]).unwrap();
    let mut contents = Vec::new();
    File::open(&file).unwrap().read_to_end(&mut contents).unwrap();
    assert_eq!(contents.len(), 3 << 20);

    let mut appended = OpenOptions::new().append(true).open(&file).unwrap();
    appended.write_all(b"tail").unwrap();
    appended.sync_all().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), (3 << 20) + 4);
    File::create(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), 0);

    fs::create_dir_all(mount.path().join("tree/inner")).unwrap();
    for index in 0..2000 {
        File::create(mount.path().join(format!("tree/inner/{index}"))).unwrap();
    }
    assert_eq!(fs::read_dir(mount.path().join("tree/inner")).unwrap().count(), 2000);
    std::os::unix::fs::symlink("tree/inner/7", mount.path().join("link")).unwrap();
    assert!(fs::metadata(mount.path().join("link")).unwrap().is_file());
    fs::hard_link(&file, mount.path().join("second")).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().nlink(), 2);

    fs::remove_dir_all(mount.path().join("tree")).unwrap();
    assert!(!mount.path().join("tree").exists());
}
