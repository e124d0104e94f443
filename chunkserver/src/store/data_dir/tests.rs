use std::path::PathBuf;

use cairn_proto::ids::ClusterId;

use super::*;

/// Directories of one test, by their names.
struct Dirs(tempfile::TempDir);

impl Dirs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, names: &[&str]) -> Result<DataDirs, DataDirError> {
        DataDirs::open(&names.iter().map(|name| self.path(name)).collect::<Vec<_>>())
    }

    /// The message that a start ends with.
    fn refusal(&self, names: &[&str]) -> String {
        self.open(names).unwrap_err().to_string()
    }

    fn copy(&self, from: &str, to: &str) {
        std::fs::create_dir(self.path(to)).unwrap();
        std::fs::copy(self.path(from).join("identity"), self.path(to).join("identity")).unwrap();
    }

    fn move_away(&self, from: &str, to: &str) {
        // A rename of a whole directory, by the test and not by what it tests.
        assert!(std::process::Command::new("mv").args([self.path(from), self.path(to)]).status().unwrap().success());
    }
}

fn failed(dirs: &DataDirs) -> Vec<bool> {
    dirs.dirs().iter().map(|dir| dir.failed.is_some()).collect()
}

#[test]
fn keeps_its_identity() {
    let dirs = Dirs::new();
    let cluster = ClusterId::random();
    let server = {
        let data = dirs.open(&["new/data"]).unwrap();
        assert_eq!(data.cluster(), None);
        data.join(cluster).unwrap();
        data.server()
    };
    let data = dirs.open(&["new/data"]).unwrap();
    assert_eq!((data.server(), data.cluster(), data.generation()), (server, Some(cluster), 0));
    data.join(cluster).unwrap();
    let other = ClusterId::random();
    assert!(matches!(data.join(other), Err(DataDirError::OtherCluster { theirs, .. }) if theirs == cluster));
}

#[test]
fn one_server_at_a_time() {
    let dirs = Dirs::new();
    let first = dirs.open(&["a", "b"]).unwrap();
    assert!(matches!(dirs.open(&["b"]), Err(DataDirError::InUse { .. })));
    drop(first);
    dirs.open(&["b", "a"]).unwrap();
}

#[test]
fn other_peoples_files_are_left_alone() {
    let dirs = Dirs::new();
    std::fs::write(dirs.path("photo.jpg"), b"x").unwrap();
    let error = dirs.open(&["."]).unwrap_err();
    assert!(matches!(&error, DataDirError::Foreign { found, .. } if found == "photo.jpg"), "{error}");
    assert_eq!(std::fs::read_dir(dirs.0.path()).unwrap().count(), 1, "nothing was added");
    drop(dirs.open(&["a"]).unwrap());
    assert!(matches!(dirs.open(&["a", "."]), Err(DataDirError::Foreign { .. })), "nor is it taken for a disk");
}

#[test]
fn a_damaged_identity_is_never_replaced() {
    let dirs = Dirs::new();
    drop(dirs.open(&["a"]).unwrap());
    let path = dirs.path("a").join("identity");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(dirs.open(&["a"]), Err(DataDirError::Damaged { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn empty_directories_join_a_server_of_one_disk() {
    let dirs = Dirs::new();
    let cluster = ClusterId::random();
    let server = {
        let one = dirs.open(&["a"]).unwrap();
        one.join(cluster).unwrap();
        one.server()
    };
    std::fs::create_dir(dirs.path("c")).unwrap();
    let disks: Vec<DiskId> = {
        let three = dirs.open(&["a", "b", "c"]).unwrap();
        assert_eq!((three.server(), three.cluster(), failed(&three)), (server, Some(cluster), vec![false; 3]));
        three.dirs().iter().map(|dir| dir.disk).collect()
    };
    // In any order, each is who it was.
    let again = dirs.open(&["c", "a", "b"]).unwrap();
    assert_eq!(again.dirs().iter().map(|dir| dir.disk).collect::<Vec<_>>(), [disks[2], disks[0], disks[1]]);
    assert_eq!((again.server(), again.generation()), (server, 0));
    assert!(again.dirs().iter().all(|dir| dir.generation == 0));
}

#[test]
fn several_new_ones_are_one_server() {
    let dirs = Dirs::new();
    let server = dirs.open(&["a", "b"]).unwrap().server();
    assert_eq!(dirs.open(&["b"]).unwrap().server(), server);
}

#[test]
fn a_directory_that_is_missing_is_a_disk_that_has_failed() {
    for how in 0..4 {
        let dirs = Dirs::new();
        let disks: Vec<DiskId> = dirs.open(&["a", "b"]).unwrap().dirs().iter().map(|dir| dir.disk).collect();
        dirs.move_away("b", "elsewhere");
        match how {
            // Not mounted.
            1 => std::fs::create_dir(dirs.path("b")).unwrap(),
            2 => std::fs::write(dirs.path("b"), b"no directory").unwrap(),
            3 => {
                std::fs::create_dir(dirs.path("b")).unwrap();
                std::fs::write(dirs.path("b").join("identity"), b"damaged").unwrap();
            }
            _ => {}
        }
        {
            let rest = dirs.open(&["a", "b"]).unwrap();
            assert_eq!((failed(&rest), rest.generation()), (vec![false, true], 1), "{how}");
            assert_eq!(rest.dirs()[1].disk, disks[1]);
            assert!(how % 2 == 1 || !dirs.path("b").join("lock").exists(), "it is left alone");
        }
        // The next start finds nothing new.
        assert_eq!(dirs.open(&["a", "b"]).unwrap().generation(), 1);
        // And when it is back, it is known to have been away.
        assert!(std::process::Command::new("rm").arg("-r").arg(dirs.path("b")).status().is_ok());
        dirs.move_away("elsewhere", "b");
        let whole = dirs.open(&["a", "b"]).unwrap();
        assert_eq!((failed(&whole), whole.generation()), (vec![false, false], 1), "{how}");
        assert_eq!(whole.dirs().iter().map(|dir| dir.generation).collect::<Vec<_>>(), [1, 0]);
        drop(whole);
        let again = dirs.open(&["a", "b"]).unwrap();
        assert_eq!(again.dirs().iter().map(|dir| dir.generation).collect::<Vec<_>>(), [1, 1]);
    }
}

#[test]
fn without_any_that_can_be_used_it_does_not_start() {
    let dirs = Dirs::new();
    drop(dirs.open(&["a", "b"]).unwrap());
    for name in ["a", "b"] {
        dirs.move_away(name, &format!("{name}-away"));
        std::fs::write(dirs.path(name), b"no directory").unwrap();
    }
    assert!(matches!(dirs.open(&["a", "b"]), Err(DataDirError::Io { .. })));
}

#[test]
fn a_directory_that_is_not_given_any_more_is_forgotten() {
    let dirs = Dirs::new();
    let gone = dirs.open(&["a", "b"]).unwrap().dirs()[1].disk;
    {
        let one = dirs.open(&["a"]).unwrap();
        assert_eq!((one.dirs().len(), one.generation()), (1, 1));
    }
    // So an empty directory of its name is a new disk.
    dirs.move_away("b", "elsewhere");
    std::fs::create_dir(dirs.path("b")).unwrap();
    let two = dirs.open(&["a", "b"]).unwrap();
    assert_eq!(failed(&two), [false, false]);
    assert_ne!(two.dirs()[1].disk, gone);
}

#[test]
fn a_disk_that_moved_is_found_where_it_is() {
    let dirs = Dirs::new();
    drop(dirs.open(&["a", "b"]).unwrap());
    dirs.move_away("b", "moved");
    let two = dirs.open(&["a", "moved"]).unwrap();
    assert_eq!((failed(&two), two.generation()), (vec![false, false], 0));
}

#[test]
fn what_does_not_belong_together_is_refused_in_one_line_that_names_both() {
    let dirs = Dirs::new();
    let cluster = ClusterId::random();
    dirs.open(&["a", "b"]).unwrap().join(cluster).unwrap();
    dirs.open(&["foreign"]).unwrap().join(cluster).unwrap();
    dirs.copy("b", "copied");
    for (names, says) in [
        (vec!["a", "foreign"], "belongs to chunkserver"),
        (vec!["a", "b", "copied"], "one is a copy of the other"),
        (vec!["a", "a"], "are the same directory"),
        (vec!["a", "b/../a"], "are the same directory"),
    ] {
        let said = dirs.refusal(&names);
        let last = dirs.path(names[names.len() - 1]).display().to_string();
        let other = if names.len() == 3 { "b" } else { "a" };
        assert!(said.contains(says) && said.contains(&last), "{said}");
        assert!(said.contains(&dirs.path(other).display().to_string()) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn directories_of_two_clusters_are_refused() {
    let dirs = Dirs::new();
    drop(dirs.open(&["a", "b"]).unwrap());
    // As nobody does it by mistake: one of them joins apart from the other.
    dirs.open(&["a"]).unwrap().join(ClusterId::random()).unwrap();
    dirs.open(&["b"]).unwrap().join(ClusterId::random()).unwrap();
    let said = dirs.refusal(&["a", "b"]);
    assert!(said.contains("a server is in one cluster") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_disk_that_fails_is_remembered_by_the_others_and_by_itself_where_it_is_the_last() {
    let dirs = Dirs::new();
    {
        let two = dirs.open(&["a", "b"]).unwrap();
        two.gone(0);
        assert_eq!(two.generation(), 1);
        two.gone(1);
        assert_eq!(two.generation(), 2);
    }
    let two = dirs.open(&["a", "b"]).unwrap();
    assert_eq!(two.dirs().iter().map(|dir| dir.generation).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(two.generation(), 2);
}
