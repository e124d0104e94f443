//! The commands as a user types them: what they print, how they end, what they say to wrong input.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::Cluster;
use cairn_tests::daemon::Daemon;
use cairn_tests::{binaries, run};
use nix::sys::signal::Signal;

fn cairn(args: &[&str]) -> Result<(i32, String)> {
    let output = run::output(Command::new(binaries::cairn()).args(args).env_remove("CAIRN_META"))?;
    Ok((output.status.code().unwrap_or(-1), run::printed(&output)))
}

#[test]
fn up_serves_until_told_to_stop_and_keeps_everything() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (data, mnt) = (dir.path().join("data"), dir.path().join("mnt"));
    let args: Vec<String> = ["up", "--chunkservers", "3", "--copies", "2", "--data"]
        .map(String::from)
        .into_iter()
        .chain([data.display().to_string(), "--mount".into(), mnt.display().to_string()])
        .collect();
    for round in 0..2 {
        let mut up = Daemon::start("up", &args, &dir.path().join("log"))?;
        ensure!(up.ready.contains(&mnt.display().to_string()), "it says where it mounted: {:?}", up.ready);
        if round == 0 {
            run::shell(&mnt, "echo hello > file && mkdir d && cp /bin/ls d/ls")?;
        }
        ensure!(run::shell(&mnt, "cat file")? == "hello\n");
        run::shell(&mnt, "cmp /bin/ls d/ls")?;
        let (code, text) = cairn(&["info", &mnt.join("d/ls").display().to_string()])?;
        ensure!(code == 0 && text.contains("2/2"), "two copies of its one chunk: {text}");
        up.signal(Signal::SIGINT)?;
        ensure!(up.wait(Duration::from_secs(60))?.success());
        ensure!(std::fs::read_dir(&mnt)?.next().is_none(), "it is unmounted");
    }
    Ok(())
}

#[test]
fn policies_are_set_shown_and_inherited() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    std::fs::create_dir(mount.join("three"))?;
    let path = mount.join("three").display().to_string();
    let (code, text) = cairn(&["policy", "set", &path, "--copies", "3"])?;
    ensure!(code == 0, "{text}");
    std::fs::create_dir(mount.join("three/below"))?;
    std::fs::write(mount.join("three/below/f"), b"three copies")?;
    let (code, text) = cairn(&["policy", "show", &format!("{path}/below/f")])?;
    ensure!(code == 0 && text.contains("3 copies"), "{text}");
    let info = cluster.cairn_json(&["info", "/three/below/f"])?;
    let replicas = info["chunks"][0]["replicas"].as_array().context("replicas")?;
    ensure!(replicas.len() == 3, "{info}");
    let (code, text) = cairn(&["policy", "set", &path, "--copies", "0"])?;
    ensure!(code == 2 && text.contains("copies"), "{code} {text}");
    mount.unmount()
}

#[test]
fn more_copies_for_what_is_there() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    std::fs::write(mount.join("f"), vec![7; 300_000])?;
    let (code, text) = cairn(&["policy", "set", &mount.path().display().to_string(), "--copies", "3", "--recursive"])?;
    ensure!(code == 0, "{text}");
    run::wait_until("three copies", Duration::from_secs(90), || {
        let info = cluster.cairn_json(&["info", "/f"])?;
        Ok(info["chunks"][0]["replicas"].as_array().is_some_and(|r| r.len() == 3))
    })?;
    ensure!(std::fs::read(mount.join("f"))? == vec![7; 300_000]);
    mount.unmount()?;
    cluster.wait_settled(Duration::from_secs(90))?;
    cluster.assert_fsck_clean()
}

#[test]
fn status_and_df_for_people_and_programs() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    std::fs::write(mount.join("f"), vec![7; 100_000])?;
    let text = run::printed(&cluster.cairn(&["status"])?);
    for word in ["cluster", "chunks", "chunk0", "chunk1", "chunk2", "healthy"] {
        ensure!(text.contains(word), "{word} is not in: {text}");
    }
    let json = cluster.cairn_json(&["status"])?;
    ensure!(json["chunks"]["total"] == 1 && json["fs"]["inodes"] == 2, "{json}");
    ensure!(json["sessions"].as_array().is_some_and(|s| s.len() == 1), "{json}");
    ensure!(cluster.cairn_json(&["df"])?["servers"].as_array().is_some_and(|s| s.len() == 3));
    mount.unmount()
}

#[test]
fn stats_count_what_was_asked() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    let before = cluster.requests()?;
    for _ in 0..3 {
        cluster.cairn_json(&["df"])?;
    }
    let after = cluster.requests()?;
    let rise = |name: &str| after.get(name).copied().unwrap_or(0) - before.get(name).copied().unwrap_or(0);
    ensure!(rise("AdminService.status") == 3 && rise("AdminService.stats") == 1, "{before:?}\n{after:?}");
    ensure!(rise("AdminService.checkpoint") == 0, "{after:?}");
    ensure!(after["ClusterService.register"] >= 3 && after["MetaService.open_session"] == 1, "{after:?}");

    let (asked, there) = cluster.requests_during(|| Ok(mount.join("nothing").exists()))?;
    ensure!(!there && asked.get("MetaService.lookup") == Some(&1), "{asked:?}");
    run::wait_until("an idle mount asks for nothing", Duration::from_secs(20), || {
        let idle = || {
            std::thread::sleep(Duration::from_millis(200));
            Ok(())
        };
        Ok(cluster.requests_during(idle)?.0.is_empty())
    })?;

    run::wait_until("the mount waits for events, and that is marked", Duration::from_secs(20), || {
        let stats = cluster.cairn_json(&["stats"])?;
        let requests = stats["requests"].as_array().context("requests")?;
        let events = requests.iter().find(|r| r["name"] == "MetaService.events");
        Ok(events.is_some_and(|r| r["waits"] == true && r["in_flight"] == 1))
    })?;
    let (code, text) = cairn(&["stats", &mount.join("nothing").display().to_string()])?;
    ensure!(code == 0, "{text}");
    for word in ["up for", "REQUEST", "AdminService.stats", "waits by design"] {
        ensure!(text.contains(word), "{word} is not in: {text}");
    }
    mount.unmount()
}

#[test]
fn stats_are_watched_until_nobody_wants_more() -> Result<()> {
    let cluster = Cluster::start()?;
    let watch = |more: &[&str]| -> Result<String> {
        let mut args = ["stats", cluster.meta_endpoint(), "--watch"].map(String::from).to_vec();
        args.extend(more.iter().map(ToString::to_string));
        let mut watch = Daemon::start("stats", &args, &cluster.log("stats"))?;
        watch.signal(Signal::SIGINT)?;
        ensure!(watch.wait(Duration::from_secs(10))?.success(), "{}", watch.log()?);
        Ok(watch.ready.clone())
    };
    let first = watch(&[])?;
    ensure!(first.contains("requests a second"), "{first}");
    let line: serde_json::Value = serde_json::from_str(&watch(&["1", "--json"])?)?;
    ensure!(line["requests"].as_array().is_some_and(|r| r.iter().any(|r| r["name"] == "AdminService.stats")), "{line}");
    Ok(())
}

#[test]
fn who_prints_for_nobody_ends_without_a_word() -> Result<()> {
    let cluster = Cluster::start()?;
    let mount = cluster.mount()?;
    let (cairn, meta, file) = (binaries::cairn(), cluster.meta_endpoint(), mount.join("f"));
    let cairn = cairn.display();
    std::fs::write(&file, "text")?;
    let commands = [
        format!("status --meta {meta}"),
        format!("fsck --meta {meta}"),
        format!("stats {meta}"),
        format!("stats {meta} --json"),
        // `head` has seen enough after a line, and this goes on.
        format!("stats {meta} -w"),
        format!("info {}", file.display()),
        format!("df --meta {meta}"),
        format!("server list --meta {meta}"),
        format!("trash list --meta {meta}"),
        format!("trash list --json --meta {meta}"),
    ];
    for command in commands {
        // What reads is gone before anything is printed; stderr is what is seen.
        let script = format!("exec 3>&1; {{ sleep 0.2; timeout 30 {cairn} {command} 2>&3 || echo $? >&3; }} | true");
        let said = run::shell(cluster.dir(), &script)?;
        ensure!(said == "141\n", "{command}: {said:?}");
        let script = format!("timeout 30 {cairn} {command} 2>&1 > /dev/full || echo $?");
        let said = run::shell(cluster.dir(), &script)?;
        ensure!(said.starts_with("cairn: cannot print: ") && said.ends_with("\n1\n"), "{command}: {said:?}");
    }
    mount.unmount()
}

#[test]
fn daemons_answer_health_checks_and_stop_on_sigterm() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mount = cluster.mount_with("health_listen=127.0.0.1:0")?;
    for daemon in [cluster.meta()?, cluster.chunkserver(0)?, mount.daemon()] {
        for path in ["/healthz", "/readyz"] {
            let (status, body) = daemon.http(path)?;
            ensure!(status == "200", "{path} of {}: {status} {body}", daemon.ready);
        }
    }
    mount.unmount()?;
    cluster.stop_chunkserver(0)?;
    cluster.stop_meta()
}

#[test]
fn wrong_input_gets_one_clear_line() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("meta.toml");
    std::fs::write(&config, "data_dir = \"x\"\nlissen = \"127.0.0.1:0\"\n")?;
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["status", "--meta", "127.0.0.1:1"], 1, &["127.0.0.1:1", "is it running"]),
        (&["status", "--meta", "nonsense"], 2, &["nonsense", "port"]),
        (&["stats", "127.0.0.1:1"], 1, &["127.0.0.1:1", "is it running"]),
        (&["stats", "/tmp"], 1, &["/tmp", "not on a CairnFS mount"]),
        (&["stats", "--meta", "127.0.0.1:1", "--watch", "0"], 2, &["0", "--watch"]),
        (&["info", "/"], 1, &["not on a CairnFS mount"]),
        (&["info", "/does/not/exist"], 1, &["/does/not/exist"]),
        (&["umount", "/tmp"], 1, &["/tmp", "nothing is mounted there"]),
        (&["mount", "127.0.0.1:1", "/does/not/exist"], 1, &["/does/not/exist"]),
        (&["metaserver", "--config", &config.display().to_string()], 1, &["lissen", "meta.toml"]),
        (&["metaserver", "--config", "/does/not/exist.toml"], 1, &["/does/not/exist.toml"]),
        (&["chunkserver"], 1, &["data"]),
        (&["policy", "set", "/tmp"], 1, &["nothing to set"]),
    ];
    for (args, want_code, want_words) in cases {
        let (code, text) = cairn(args)?;
        ensure!(code == *want_code, "cairn {args:?} ended with {code}: {text}");
        for word in *want_words {
            ensure!(text.contains(word), "cairn {args:?}: {word:?} is not in: {text}");
        }
        ensure!(!text.contains("panicked"), "cairn {args:?} panicked: {text}");
        ensure!(text.lines().count() <= 6, "cairn {args:?} says too much: {text}");
    }
    Ok(())
}

#[test]
fn the_mount_helper_serves_mount_and_fstab() -> Result<()> {
    let cluster = Cluster::start()?;
    let (bin, mnt) = (cluster.dir().join("bin"), cluster.dir().join("helper-mnt"));
    std::fs::create_dir(&bin)?;
    std::fs::create_dir(&mnt)?;
    let helper = bin.join("mount.cairn");
    std::os::unix::fs::symlink(binaries::cairn(), &helper)?;
    // As mount(8) calls it: helper SOURCE DIR -o OPTIONS. It returns when the mount is there.
    run::check(Command::new(&helper).arg(cluster.meta_endpoint()).arg(&mnt).args(["-o", "rw,noatime,_netdev"]))?;
    run::shell(&mnt, "echo through the helper > f && cat f")?;
    let (code, text) = cairn(&["umount", &mnt.display().to_string()])?;
    ensure!(code == 0, "{text}");
    ensure!(std::fs::read_dir(&mnt)?.next().is_none(), "it is unmounted");
    let again = cluster.mount()?;
    ensure!(std::fs::read_to_string(again.join("f"))? == "through the helper\n");
    again.unmount()
}
