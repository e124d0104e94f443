//! fsx: random reads, writes, truncates, mappings, fallocates and holes on one file, checked byte by byte.

use std::process::Command;

use anyhow::Result;
use cairn_tests::cluster::Cluster;
use cairn_tests::{binaries, pattern, run};

const SEEDS: u64 = 10;
/// Most of the time each of them waits for a disk.
const AT_A_TIME: u64 = 5;
const OPERATIONS: &str = "20000";

const CONFIG: &str = r#"
flen = 1048576

[opsize]
max = 131072
min = 1
align = 1

[weights]
close_open = 1
read = 10
write = 10
mapread = 10
mapwrite = 10
invalidate = 1
truncate = 2
fsync = 1
fdatasync = 1
posix_fallocate = 2
punch_hole = 2
sendfile = 1
posix_fadvise = 1
copy_file_range = 1
"#;

#[test]
fn ten_seeds_of_twenty_thousand_operations() -> Result<()> {
    let first = pattern::seed("fsx") % (1 << 40);
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    let config = cluster.dir().join("fsx.toml");
    std::fs::write(&config, CONFIG)?;
    let (artifacts, root) = (cluster.dir(), mount.path());
    let exercise = |seed: u64| {
        let mut fsx = Command::new(binaries::tool("fsx"));
        fsx.arg("-f").arg(&config).args(["-N", OPERATIONS, "-S", &seed.to_string(), "-P"]).arg(artifacts);
        run::check(fsx.arg(root.join(format!("fsx-{seed}")))).map(drop)
    };
    std::thread::scope(|scope| {
        let start = |lane| {
            let seeds = (first + lane..first + SEEDS).step_by(AT_A_TIME as usize);
            scope.spawn(move || seeds.into_iter().try_for_each(exercise))
        };
        let lanes: Vec<_> = (0..AT_A_TIME).map(start).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().expect("failures are answered"))
    })?;
    mount.unmount()?;
    cluster.wait_settled(std::time::Duration::from_secs(90))?;
    cluster.assert_fsck_clean()
}
