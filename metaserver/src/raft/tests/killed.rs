//! A real process, killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

/// Tells the child, which is this test binary again, where to work.
const DIR_VARIABLE: &str = "CAIRN_TEST_KILLED_DIR";

/// The child's part: proposes for ever, from several tasks, and says what was acknowledged.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let running = Running::start(Path::new(&dir));
    let shutdown = cairn_runtime::shutdown::Shutdown::new();
    let workers = cairn_runtime::worker::Workers::new(shutdown);
    running.runtime.block_on(async {
        running.node.spawn_workers(&workers).unwrap();
        let tasks = (0..8u32).map(|task| {
            let node = running.node.clone();
            async move {
                // Each task's value counts its own commands.
                let view = |node: &MetaNode| crate::store::Read::get(&node.keyspace().view(), &key(task)).unwrap();
                let done = view(&node).map_or(0, |value| value.len() as u32);
                for n in done.. {
                    node.propose(command(&Op::Append(task, n as u8))).await.unwrap();
                    writeln!(std::io::stdout(), "acked {task} {n}").unwrap();
                }
            }
        });
        let checkpoints = async {
            while running.node.metrics().failure.is_none() {
                tokio::time::sleep(Duration::from_millis(70)).await;
                running.node.checkpoint().await.unwrap();
                running.node.flush().await.unwrap();
            }
        };
        tokio::join!(futures::future::join_all(tasks), checkpoints);
    });
}

/// The task and its count, of a line of the child's.
fn acknowledged(line: &str) -> Option<(usize, u32)> {
    let mut words = line.strip_prefix("acked ")?.split(' ');
    let task = words.next()?.parse().ok()?;
    let n: u32 = words.next()?.parse().ok()?;
    Some((task, n + 1))
}

#[test]
fn killed_process_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = [0u32; 8];
    for round in 0..6u64 {
        let (_, module) = module_path!().split_once("::").unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::child"), "--nocapture"])
            .env(DIR_VARIABLE, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader =
            std::thread::spawn(move || lines.map_while(Result::ok).filter_map(|line| acknowledged(&line)).collect());
        std::thread::sleep(Duration::from_millis(500 + round * 97));
        child.kill().unwrap();
        child.wait().unwrap();
        let lines: Vec<(usize, u32)> = reader.join().unwrap();
        lines.into_iter().for_each(|(task, count)| acked[task] = count);
        assert!(acked.iter().all(|&count| count > 0), "round {round}: {acked:?}");
        let running = Running::start(dir.path());
        running.node.keyspace().verify().unwrap();
        for (task, &count) in acked.iter().enumerate() {
            let (_, value) = running.state().into_iter().find(|(k, _)| *k == key(task as u32)).unwrap();
            let held = value.len() as u32;
            // One more may have been under way.
            assert!(
                (count..=count + 1).contains(&held),
                "round {round}, task {task}: {held} held, {count} acknowledged"
            );
            assert!(value.iter().enumerate().all(|(n, &byte)| byte == n as u8), "round {round}, task {task}");
        }
        running.end();
    }
}
