//! The same random operations on a mount and on a local directory, compared call by call: result, errno, content, attributes.

use std::time::Instant;

use anyhow::{Result, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::ops::{Op, World, draw, tree};
use cairn_tests::pattern;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Operations of one sequence.
const SEQUENCE: usize = 1_500;
/// Sequences, each in a fresh pair of directories.
const SEQUENCES: u64 = 12;
/// Operations of the sequence that are shown with a difference.
const SHOWN: usize = 25;

#[test]
fn a_mount_answers_as_a_local_disk_does() -> Result<()> {
    let seed = pattern::seed("differential");
    let cluster = Cluster::with(Options { on_disk: true, ..Options::default() })?;
    let mount = cluster.mount()?;
    let local = tempfile::tempdir()?;
    let start = Instant::now();
    for n in 0..SEQUENCES {
        let (ours, theirs) = (mount.join(&format!("s{n}")), local.path().join(format!("s{n}")));
        for dir in [&ours, &theirs] {
            for sub in ["", "d", "e", "d/f"] {
                std::fs::create_dir(dir.join(sub))?;
            }
        }
        let (mut on_mount, mut on_disk) = (World::new(&ours), World::new(&theirs));
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(n));
        let mut done: Vec<Op> = Vec::new();
        for _ in 0..SEQUENCE {
            let op = draw(&mut rng);
            done.push(op.clone());
            let (got, want) = (on_mount.run(&op), on_disk.run(&op));
            ensure!(
                got == want,
                "seed {seed}, sequence {n}, operation {}: {op:?}\n  mount: {}\n  disk:  {}\nthe last operations:\n{}",
                done.len(),
                brief(&format!("{got:?}")),
                brief(&format!("{want:?}")),
                done[done.len().saturating_sub(SHOWN)..].iter().map(|o| format!("  {o:?}\n")).collect::<String>(),
            );
        }
        drop((on_mount, on_disk));
        let (got, want) = (tree(&ours)?, tree(&theirs)?);
        for (path, there) in &want {
            let here = got.get(path);
            ensure!(
                here == Some(there),
                "seed {seed}, sequence {n}: {} differs at the end: {:?} on the mount, {:?} on the disk, first at byte {:?}",
                path.display(),
                here.map(|(stat, content)| (stat, content.len())),
                (&there.0, there.1.len()),
                here.and_then(|(_, content)| content.iter().zip(&there.1).position(|(a, b)| a != b)),
            );
        }
        ensure!(got.len() == want.len(), "seed {seed}, sequence {n}: entries that the disk does not have");
    }
    println!("{} operations in {:?}", SEQUENCES * SEQUENCE as u64, start.elapsed());
    mount.unmount()?;
    cluster.wait_settled(std::time::Duration::from_secs(90))?;
    cluster.assert_fsck_clean()
}

fn brief(text: &str) -> String {
    if text.len() > 300 { format!("{}… ({} characters)", &text[..300], text.len()) } else { text.to_owned() }
}
