//! What a mount must do as a local disk does, where the big suites do not look closely.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests, and of the file system's own rename"
)]

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use cairn_tests::cluster::Cluster;
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, RenameFlags, fallocate, renameat2};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::Whence;

/// Names of a directory, sorted.
fn list(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn errno(error: std::io::Error) -> i32 {
    error.raw_os_error().unwrap()
}

#[test]
fn names_come_and_go() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        assert_eq!(errno(fs::metadata(root.join("a")).unwrap_err()), libc::ENOENT);
        fs::write(root.join("a"), "one").unwrap();
        assert_eq!(fs::read(root.join("a")).unwrap(), b"one", "not hidden by the absence remembered before");
        fs::create_dir(root.join("d")).unwrap();
        fs::rename(root.join("a"), root.join("d/b")).unwrap();
        assert_eq!(errno(fs::metadata(root.join("a")).unwrap_err()), libc::ENOENT);
        fs::hard_link(root.join("d/b"), root.join("c")).unwrap();
        assert_eq!(fs::metadata(root.join("c")).unwrap().nlink(), 2);
        fs::remove_file(root.join("d/b")).unwrap();
        assert_eq!(fs::metadata(root.join("c")).unwrap().nlink(), 1, "the other name's attributes follow");
        symlink("c", root.join("s")).unwrap();
        assert_eq!(fs::read_to_string(root.join("s")).unwrap(), "one");
        assert_eq!(errno(fs::remove_dir(root.join("c")).unwrap_err()), libc::ENOTDIR);
        assert_eq!(list(&root), ["c", "d", "s"]);
    });
    mounted.unmount().unwrap();
}

#[test]
fn rename_has_its_flags() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        fs::write(root.join("a"), "a").unwrap();
        fs::write(root.join("b"), "b").unwrap();
        let cwd = File::open(&root).unwrap();
        let rename = |flags| renameat2(&cwd, "a", &cwd, "b", flags);
        assert_eq!(rename(RenameFlags::RENAME_NOREPLACE), Err(nix::errno::Errno::EEXIST));
        rename(RenameFlags::RENAME_EXCHANGE).unwrap();
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "b");
        assert_eq!(fs::read_to_string(root.join("b")).unwrap(), "a");
        rename(RenameFlags::empty()).unwrap();
        assert_eq!(list(&root), ["b"]);
        assert_eq!(fs::read_to_string(root.join("b")).unwrap(), "b");
    });
    mounted.unmount().unwrap();
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        let path = root.join("f");
        let mut file = OpenOptions::new().create(true).read(true).write(true).truncate(true).open(&path).unwrap();
        file.write_all(b"before").unwrap();
        fs::remove_file(&path).unwrap();
        file.write_all(b" and after").unwrap();
        file.sync_all().unwrap();
        std::thread::sleep(Duration::from_millis(1200)); // past what is believed without asking
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before and after");
        assert!(list(&root).is_empty());
    });
    mounted.unmount().unwrap();
}

#[test]
fn open_flags_do_what_they_say() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        let path = root.join("f");
        fs::write(&path, "0123456789").unwrap();
        let exclusive = OpenOptions::new().write(true).create_new(true).open(&path);
        assert_eq!(exclusive.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let open_append = || OpenOptions::new().append(true).open(&path).unwrap();
        let (mut one, mut two) = (open_append(), open_append());
        one.write_all(b"a").unwrap();
        two.write_all(b"b").unwrap();
        one.write_all(b"c").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0123456789abc");
        let shorter = OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        assert_eq!(shorter.metadata().unwrap().len(), 0);
        drop(shorter);
        let flags = libc::O_DIRECT | libc::O_SYNC;
        let direct = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path).unwrap();
        direct.write_all_at(&[7; 8192], 4096).unwrap();
        let mut back = vec![1; 12288];
        direct.read_exact_at(&mut back, 0).unwrap();
        assert!(back[..4096].iter().all(|byte| *byte == 0) && back[4096..].iter().all(|byte| *byte == 7));
    });
    mounted.unmount().unwrap();
}

#[test]
fn a_listing_survives_changes_beside_it() {
    const FILES: usize = 3000;
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let root = root.clone();
                std::thread::spawn(move || {
                    for number in (thread..FILES).step_by(8) {
                        File::create(root.join(format!("f{number}"))).unwrap();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut left: BTreeSet<String> = list(&root).into_iter().collect();
        let mut seen = Vec::new();
        for (place, entry) in fs::read_dir(&root).unwrap().enumerate() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if place % 2 == 0 {
                fs::remove_file(entry.path()).unwrap();
                assert!(!entry.path().exists(), "{name} is gone at once");
                left.remove(&name);
            }
            if place % 100 == 0 {
                let new = format!("new{place}");
                File::create(root.join(&new)).unwrap();
                left.insert(new);
            }
            seen.push(name);
        }
        let mut old: Vec<_> = seen.iter().filter(|name| name.starts_with('f')).collect();
        assert_eq!(old.len(), FILES, "each that was there is listed");
        old.sort();
        old.dedup();
        assert_eq!(old.len(), FILES, "and once");
        assert_eq!(list(&root), left.into_iter().collect::<Vec<_>>());
        // What `find -delete` and `rm -r` do.
        list(&root).iter().for_each(|name| fs::remove_file(root.join(name)).unwrap());
        assert!(list(&root).is_empty());
    });
    mounted.unmount().unwrap();
}

#[test]
fn a_removed_directory_can_be_stood_in() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        fs::create_dir(root.join("d")).unwrap();
        let dir = File::open(root.join("d")).unwrap();
        fs::remove_dir(root.join("d")).unwrap();
        std::thread::sleep(Duration::from_millis(1200));
        let metadata = dir.metadata().unwrap();
        assert!(metadata.is_dir() && metadata.nlink() == 0);
    });
    mounted.unmount().unwrap();
}

#[test]
fn attributes_can_be_set() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        let path = root.join("f");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"text").unwrap();
        // The modification time is set while the write is still on its way; the close must not undo it.
        let (atime, mtime) = (TimeSpec::new(1_000_000_000, 111_222_333), TimeSpec::new(-5, 999_999_999));
        utimensat(nix::fcntl::AT_FDCWD, &path, &atime, &mtime, UtimensatFlags::FollowSymlink).unwrap();
        drop(file);
        std::thread::sleep(Duration::from_millis(1200));
        let stat = nix::sys::stat::stat(&path).unwrap();
        assert_eq!((stat.st_atime, stat.st_atime_nsec), (1_000_000_000, 111_222_333));
        assert_eq!((stat.st_mtime, stat.st_mtime_nsec), (-5, 999_999_999));
        let omit = TimeSpec::UTIME_OMIT;
        utimensat(nix::fcntl::AT_FDCWD, &path, &omit, &TimeSpec::UTIME_NOW, UtimensatFlags::FollowSymlink).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.atime(), 1_000_000_000);
        assert!(metadata.modified().unwrap().elapsed().unwrap() < Duration::from_secs(30));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode(), libc::S_IFREG | 0o4751);
        std::os::unix::fs::chown(&path, Some(1234), Some(5678)).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 5678));
        assert_eq!(metadata.mode() & 0o7777, 0o751, "a new owner does not get the old one's setuid");
    });
    mounted.unmount().unwrap();
}

#[test]
fn a_setuid_bit_set_after_a_write_stays() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        let mut file = File::create(root.join("f")).unwrap();
        file.write_all(b"program").unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o4755)).unwrap();
        drop(file);
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(fs::metadata(root.join("f")).unwrap().mode() & 0o7777, 0o4755);
    });
    mounted.unmount().unwrap();
}

#[test]
fn reading_moves_the_access_time_as_relatime_does() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        let path = root.join("f");
        fs::write(&path, "text").unwrap();
        let before = fs::metadata(&path).unwrap();
        std::thread::sleep(Duration::from_millis(1100));
        fs::read(&path).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert!(after.accessed().unwrap() > before.accessed().unwrap(), "read since it was written");
        assert_eq!(after.ctime_nsec(), before.ctime_nsec(), "which changes nothing else");
        std::thread::sleep(Duration::from_millis(1100));
        fs::read(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), after.accessed().unwrap());
    });
    mounted.unmount().unwrap();
    let quiet = cluster.mount_with("noatime").unwrap();
    quiet.run(|root| {
        let path = root.join("g");
        fs::write(&path, "text").unwrap();
        let before = fs::metadata(&path).unwrap().accessed().unwrap();
        std::thread::sleep(Duration::from_millis(1100));
        fs::read(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), before);
        assert!(fs::metadata(root.join("f")).unwrap().accessed().unwrap() < SystemTime::now());
    });
    quiet.unmount().unwrap();
}

#[test]
fn files_are_sparse() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        const MIB: u64 = 1 << 20;
        let file = OpenOptions::new().create(true).read(true).write(true).truncate(true).open(root.join("f")).unwrap();
        file.set_len(200 * MIB).unwrap();
        file.write_all_at(&[9; 8192], 100 * MIB).unwrap();
        assert!(file.metadata().unwrap().blocks() < 1000);
        let seek = |offset: u64, whence| nix::unistd::lseek(&file, offset as i64, whence).map(|found| found as u64);
        assert_eq!(seek(0, Whence::SeekData), Ok(100 * MIB));
        assert_eq!(seek(100 * MIB, Whence::SeekHole), Ok(100 * MIB + 8192));
        assert_eq!(seek(0, Whence::SeekHole), Ok(0));
        assert_eq!(seek(150 * MIB, Whence::SeekData), Err(nix::errno::Errno::ENXIO));
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&file, punch, (100 * MIB) as i64, 4096).unwrap();
        assert_eq!(seek(0, Whence::SeekData), Ok(100 * MIB + 4096));
        let mut back = [1; 8192];
        file.read_exact_at(&mut back, 100 * MIB).unwrap();
        assert!(back[..4096].iter().all(|byte| *byte == 0) && back[4096..].iter().all(|byte| *byte == 9));
        fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, (300 * MIB) as i64).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 200 * MIB);
        fallocate(&file, FallocateFlags::empty(), 0, (201 * MIB) as i64).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 201 * MIB);
        fallocate(&file, FallocateFlags::FALLOC_FL_ZERO_RANGE, (100 * MIB) as i64, (102 * MIB) as i64).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 202 * MIB);
        file.read_exact_at(&mut back, 100 * MIB).unwrap();
        assert!(back.iter().all(|byte| *byte == 0));
        let collapse = fallocate(&file, FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
        assert_eq!(collapse, Err(nix::errno::Errno::EOPNOTSUPP));
    });
    mounted.unmount().unwrap();
}

#[test]
fn contents_survive_the_page_cache_and_the_mount() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    let pattern: Vec<u8> = (0..5_000_011_u32).map(|at| (at % 251) as u8).collect();
    let written = pattern.clone();
    mounted.run(move |root| {
        let path = root.join("f");
        fs::write(&path, &written).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        nix::fcntl::posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        assert!(fs::read(&path).unwrap() == written);
        let copy = File::create(root.join("copy")).unwrap();
        let mut left = written.len();
        while left > 0 {
            let (none, from, to) = (std::ptr::null_mut(), file.as_raw_fd(), copy.as_raw_fd());
            // SAFETY: both descriptors are open, and no offsets are passed.
            let copied = unsafe { libc::copy_file_range(from, none, to, none, left, 0) };
            assert!(copied > 0);
            left -= copied as usize;
        }
        drop(copy);
        assert!(fs::read(root.join("copy")).unwrap() == written);
    });
    mounted.unmount().unwrap();
    let again = cluster.mount().unwrap();
    again.run(move |root| assert!(fs::read(root.join("f")).unwrap() == pattern));
    again.unmount().unwrap();
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn set_xattr(path: &Path, name: &str, value: &[u8], flags: i32) -> Result<(), nix::errno::Errno> {
    let (path, name) = (c_path(path), CString::new(name).unwrap());
    // SAFETY: the strings end with NUL, the value is as long as told, and the kernel keeps none of them.
    let result = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags) };
    nix::errno::Errno::result(result).map(drop)
}

fn get_xattr(path: &Path, name: &str, room: usize) -> Result<Vec<u8>, nix::errno::Errno> {
    let (path, name) = (c_path(path), CString::new(name).unwrap());
    let mut value = vec![0; room];
    // SAFETY: as above; the kernel writes at most `room` bytes.
    let result = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), room) };
    let len = nix::errno::Errno::result(result)? as usize;
    value.truncate(len);
    if room == 0 { Ok(vec![0; len]) } else { Ok(value) }
}

#[test]
fn extended_attributes() {
    use nix::errno::Errno;
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        let path = root.join("f");
        fs::write(&path, "").unwrap();
        assert_eq!(get_xattr(&path, "user.a", 10), Err(Errno::ENODATA));
        set_xattr(&path, "user.a", b"value", 0).unwrap();
        assert_eq!(get_xattr(&path, "user.a", 10).unwrap(), b"value");
        assert_eq!(get_xattr(&path, "user.a", 0).unwrap().len(), 5);
        assert_eq!(get_xattr(&path, "user.a", 3), Err(Errno::ERANGE));
        assert_eq!(set_xattr(&path, "user.a", b"", libc::XATTR_CREATE), Err(Errno::EEXIST));
        assert_eq!(set_xattr(&path, "user.b", b"", libc::XATTR_REPLACE), Err(Errno::ENODATA));
        set_xattr(&path, "user.b", &vec![7; 60_000], libc::XATTR_CREATE).unwrap();
        assert_eq!(get_xattr(&path, "user.b", 65_536).unwrap(), vec![7; 60_000]);
        set_xattr(&path, "user.a", b"other", libc::XATTR_REPLACE).unwrap();
        assert_eq!(get_xattr(&path, "user.a", 10).unwrap(), b"other");
        let mut names = vec![0; 100];
        let len = unsafe { libc::listxattr(c_path(&path).as_ptr(), names.as_mut_ptr().cast(), names.len()) };
        names.truncate(len as usize);
        assert_eq!(names, b"user.a\0user.b\0");
    });
    mounted.unmount().unwrap();
}

#[test]
fn space_and_limits_are_told() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        let stat = nix::sys::statvfs::statvfs(&root).unwrap();
        assert_eq!(stat.name_max(), 255);
        assert!(stat.blocks() > 0 && stat.blocks_available() <= stat.blocks());
        let long = "x".repeat(255);
        fs::write(root.join(&long), "").unwrap();
        assert_eq!(list(&root), std::slice::from_ref(&long));
        assert_eq!(errno(fs::write(root.join(long + "x"), "").unwrap_err()), libc::ENAMETOOLONG);
        let file = File::create(root.join("big")).unwrap();
        file.set_len(1 << 56).unwrap();
        assert_eq!(errno(file.set_len((1 << 56) + 1).unwrap_err()), libc::EFBIG);
        file.write_all_at(b"end", (1 << 56) - 3).unwrap();
        assert_eq!(errno(file.write_all_at(b"end", (1 << 56) - 2).unwrap_err()), libc::EFBIG);
        assert_eq!(file.metadata().unwrap().len(), 1 << 56);
    });
    mounted.unmount().unwrap();
}

#[test]
fn mappings_are_files() {
    let cluster = Cluster::start().unwrap();
    let mounted = cluster.mount().unwrap();
    mounted.run(|root| {
        let path = root.join("f");
        fs::write(&path, vec![1; 3 * 4096]).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        // SAFETY: a fresh shared mapping of three pages of a file that keeps its size; it is used below only, and unmapped there.
        unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let at = libc::mmap(std::ptr::null_mut(), 3 * 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0);
            assert_ne!(at, libc::MAP_FAILED);
            let bytes = std::slice::from_raw_parts_mut(at.cast::<u8>(), 3 * 4096);
            assert_eq!(bytes[5000], 1);
            bytes[5000] = 42;
            assert_eq!(libc::msync(at, 3 * 4096, libc::MS_SYNC), 0);
            bytes[9000] = 43;
            assert_eq!(libc::munmap(at, 3 * 4096), 0);
        }
        drop(file);
        let back = fs::read(&path).unwrap();
        assert_eq!((back[5000], back[9000], back[0]), (42, 43, 1));
    });
    mounted.unmount().unwrap();
}
