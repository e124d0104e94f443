//! fsx: random reads, writes, truncates, mappings, fallocates and holes on one file, checked byte by byte.

use std::process::Command;

use anyhow::Result;
use cairn_tests::cluster::Cluster;
use cairn_tests::{binaries, pattern, run};

const SEEDS: u64 = 10;
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
    for seed in first..first + SEEDS {
        run::check(
            Command::new(binaries::tool("fsx"))
                .arg("-f")
                .arg(&config)
                .args(["-N", OPERATIONS, "-S", &seed.to_string(), "-P"])
                .arg(cluster.dir())
                .arg(mount.join(&format!("fsx-{seed}"))),
        )?;
    }
    mount.unmount()?;
    cluster.wait_settled(std::time::Duration::from_secs(90))?;
    cluster.assert_fsck_clean()
}
