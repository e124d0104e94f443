//! Applications that share files by locks, renames and appends, on several mounts at once.

#![allow(clippy::disallowed_methods, reason = "the file system's own rename is what is tested")]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_tests::cluster::Cluster;
use cairn_tests::mount::Mount;
use cairn_tests::{pattern, run};

/// No application here takes this long on healthy mounts.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs `test` on that many mounts, and then looks whether the cluster is in order.
fn on_mounts(count: usize, test: impl FnOnce(&[&Path]) -> Result<()>) -> Result<()> {
    let cluster = Cluster::start()?;
    let mounts = (0..count).map(|_| cluster.mount()).collect::<Result<Vec<_>>>()?;
    let roots: Vec<&Path> = mounts.iter().map(Mount::path).collect();
    test(&roots)?;
    mounts.into_iter().try_for_each(Mount::unmount)?;
    cluster.wait_settled(Duration::from_secs(90))?;
    cluster.assert_fsck_clean()
}

/// First with one local directory in the place of every mount: that the test asks for what one machine does.
fn locally_and_on_mounts(count: usize, test: impl Fn(&[&Path]) -> Result<()>) -> Result<()> {
    let local = tempfile::tempdir()?;
    test(&vec![local.path(); count]).context("in a local directory")?;
    on_mounts(count, test)
}

/// Runs `work` for each of `roots` at the same time.
fn at_once<T: Send>(roots: &[&Path], work: impl Fn(usize, &Path) -> Result<T> + Sync) -> Result<Vec<T>> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = roots.iter().enumerate().map(|(n, root)| scope.spawn(move || work(n, root))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker does not panic")).collect()
    })
}

/// Appends of each mount.
const APPENDS: usize = 2_500;

fn record(who: usize, n: usize) -> String {
    let filler = "abcdefghijklmnopqrstuvwxyz".repeat(1 + (n * 7 + who) % 20);
    format!("{who} {n} {filler} {who} {n}\n")
}

#[test]
fn appends_from_four_mounts_are_whole_and_none_is_lost() -> Result<()> {
    locally_and_on_mounts(4, |roots| {
        at_once(roots, |who, root| {
            let mut log = OpenOptions::new().append(true).create(true).open(root.join("log"))?;
            for n in 0..APPENDS {
                // Now and then by another open file, as another program would.
                if n % 100 == 99 {
                    log = OpenOptions::new().append(true).open(root.join("log"))?;
                }
                let record = record(who, n);
                ensure!(log.write(record.as_bytes())? == record.len(), "half a record was written");
            }
            Ok(())
        })?;
        for root in roots {
            let text = fs::read_to_string(root.join("log")).context("bytes that nobody wrote")?;
            let mut next = vec![0; roots.len()];
            for line in text.split_inclusive('\n') {
                let who: usize =
                    line.split(' ').next().and_then(|w| w.parse().ok()).with_context(|| format!("{line:?}"))?;
                let n = next.get_mut(who).with_context(|| format!("{line:?}"))?;
                ensure!(line == record(who, *n), "{line:?}, and not record {n} of mount {who}");
                *n += 1;
            }
            ensure!(next.iter().all(|n| *n == APPENDS), "of {APPENDS} records of each, there are {next:?}");
        }
        Ok(())
    })
}

/// Messages that each mount delivers.
const MESSAGES: usize = 300;

#[test]
fn maildir_delivery_from_three_mounts() -> Result<()> {
    locally_and_on_mounts(3, |roots| {
        for dir in ["", "tmp", "new", "cur"] {
            fs::create_dir(roots[0].join("mail").join(dir))?;
        }
        let delivering = AtomicUsize::new(roots.len());
        let name = |who: usize, n: usize| format!("{n}.{who}.host");
        let message = |who: usize, n: usize| pattern::bytes((who * 100_000 + n) as u64, 1 + n * 37 % 9_000);
        let deliver = |who: usize, root: &Path| -> Result<()> {
            let mail = root.join("mail");
            for n in 0..MESSAGES {
                let (tmp, new) = (mail.join("tmp").join(name(who, n)), mail.join("new").join(name(who, n)));
                let mut file = fs::File::create_new(&tmp)?;
                file.write_all(&message(who, n))?;
                file.sync_all()?;
                drop(file);
                if n % 2 == 0 {
                    fs::rename(&tmp, &new).context("rename to new")?;
                } else {
                    fs::hard_link(&tmp, &new).context("link to new")?;
                    fs::remove_file(&tmp).context("unlink from tmp")?;
                }
            }
            Ok(())
        };
        // Each reader takes what it can get; of two that want the same message one is told that it is gone.
        let read = |flags: &str, root: &Path| -> Result<BTreeMap<String, Vec<u8>>> {
            let mail = root.join("mail");
            let mut got = BTreeMap::new();
            loop {
                let last = delivering.load(Ordering::SeqCst) == 0;
                let mut found = false;
                for entry in fs::read_dir(mail.join("new"))? {
                    let name = entry?.file_name().to_string_lossy().into_owned();
                    let cur = mail.join("cur").join(format!("{name}:2,{flags}"));
                    match fs::rename(mail.join("new").join(&name), &cur) {
                        Ok(()) => {
                            let bytes = fs::read(&cur).with_context(|| format!("read {name}"))?;
                            ensure!(got.insert(name.clone(), bytes).is_none(), "{name} was taken twice");
                            found = true;
                        }
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        Err(error) => return Err(error).with_context(|| format!("take {name}")),
                    }
                }
                if last && !found {
                    return Ok(got);
                }
            }
        };
        let got = thread::scope(|scope| {
            let read = &read;
            // With names of their own: of two that rename one file to one name, Linux may tell both that it was they who did.
            let readers = ["S", "RS", "FS"].into_iter().zip(roots);
            let readers: Vec<_> = readers.map(|(flags, root)| scope.spawn(move || read(flags, root))).collect();
            let delivered = at_once(roots, |who, root| {
                let delivered = deliver(who, root);
                delivering.fetch_sub(1, Ordering::SeqCst);
                delivered
            });
            let got: Result<Vec<_>> = readers.into_iter().map(|r| r.join().expect("no panic")).collect();
            delivered.and(got)
        })?;
        let mut all = BTreeMap::new();
        for (name, bytes) in got.into_iter().flatten() {
            ensure!(all.insert(name.clone(), bytes).is_none(), "{name} was taken by two readers");
        }
        ensure!(
            all.len() == MESSAGES * roots.len(),
            "{} messages were taken, of {}",
            all.len(),
            MESSAGES * roots.len()
        );
        for who in 0..roots.len() {
            for n in 0..MESSAGES {
                ensure!(all.get(&name(who, n)) == Some(&message(who, n)), "{} has other bytes", name(who, n));
            }
        }
        for root in roots {
            for (dir, count) in [("tmp", 0), ("new", 0), ("cur", all.len())] {
                let listed = fs::read_dir(root.join("mail").join(dir))?.count();
                ensure!(listed == count, "{dir} lists {listed} messages, not {count}");
            }
        }
        Ok(())
    })
}

/// Transactions of each of the programs that change the database.
const TRANSACTIONS: usize = 120;

#[test]
fn sqlite_in_rollback_mode_from_two_mounts() -> Result<()> {
    locally_and_on_mounts(2, |roots| {
        ["delete", "truncate", "persist"].into_iter().try_for_each(|mode| sqlite(roots, mode))
    })
}

/// Two programs on each mount count in one database, in two tables that a transaction changes together; one on each looks whether
/// they agree.
fn sqlite(roots: &[&Path], mode: &str) -> Result<()> {
    let db = format!("{mode}.db");
    let create = "create table counter(who integer primary key, n integer); create table log(who, n, filler);
                  insert into counter values(0, 0), (1, 0), (2, 0), (3, 0);";
    run::shell_within(roots[0], &format!("sqlite3 {db} 'pragma journal_mode={mode}; {create}'"), LIMIT)?;
    let writing = AtomicBool::new(true);
    let programs: Vec<&Path> = roots.iter().chain(roots).copied().collect();
    thread::scope(|scope| {
        let checks: Vec<_> = roots
            .iter()
            .map(|root| {
                let (db, writing) = (&db, &writing);
                scope.spawn(move || -> Result<usize> {
                    let agree = "select (select sum(n) from counter) = (select count(*) from log);";
                    let mut times = 0;
                    while writing.load(Ordering::SeqCst) {
                        let script = format!("sqlite3 -bail -cmd '.timeout 120000' {db} '{agree}'");
                        let got = run::shell_within(root, &script, LIMIT)?;
                        ensure!(got.trim() == "1", "the tables do not agree: {got:?}");
                        times += 1;
                    }
                    Ok(times)
                })
            })
            .collect();
        let written = at_once(&programs, |who, root| {
            let script = format!(
                "for i in $(seq 1 {TRANSACTIONS}); do
                   echo 'begin immediate;
                         update counter set n = n + 1 where who = {who};
                         insert into log select {who}, n, hex(randomblob(300)) from counter where who = {who};
                         commit;'
                 done | sqlite3 -bail -cmd '.timeout 120000' -cmd 'pragma journal_mode={mode}' {db}"
            );
            run::shell_within(root, &script, LIMIT).with_context(|| format!("program {who}"))
        });
        writing.store(false, Ordering::SeqCst);
        for check in checks {
            let times = check.join().expect("no panic").context("a program that only reads")?;
            ensure!(times > 0, "nobody looked");
        }
        written
    })
    .with_context(|| format!("journal mode {mode}"))?;
    for root in roots {
        let ask = format!(
            "sqlite3 {db} 'pragma integrity_check; select group_concat(n) from counter; select count(*) from log;
                           select count(*) from (select distinct who, n from log);'"
        );
        let got = run::shell_within(root, &ask, LIMIT)?;
        let all = 4 * TRANSACTIONS;
        let want = format!("ok\n{}\n{all}\n{all}\n", vec![TRANSACTIONS.to_string(); 4].join(","));
        ensure!(got == want, "journal mode {mode}: the database holds\n{got}and not\n{want}");
    }
    Ok(())
}

/// Commits of each mount, to its own branch and to the one of all.
const COMMITS: usize = 12;

/// Whose commits they are; and no process of git is left behind that tidies up.
const GIT: &str =
    "export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
                   export GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_0=gc.auto GIT_CONFIG_VALUE_0=0
                   export GIT_CONFIG_KEY_1=maintenance.auto GIT_CONFIG_VALUE_1=false
                   export GIT_CONFIG_KEY_2=receive.autogc GIT_CONFIG_VALUE_2=false";

#[test]
fn git_on_one_repository_from_two_mounts() -> Result<()> {
    locally_and_on_mounts(2, |roots| {
        let setup = format!(
            "{GIT}
             git init --quiet --bare --initial-branch=main shared.git
             git init --quiet --initial-branch=main first && cd first
             git commit --quiet --allow-empty -m start && git push --quiet ../shared.git main"
        );
        run::shell_within(roots[0], &setup, LIMIT)?;
        at_once(roots, |who, root| {
            let script = format!(
                r#"{GIT}
                git clone --quiet --no-local shared.git clone{who} && cd clone{who}
                for i in $(seq 1 {COMMITS}); do
                    echo "{who} $i" > file-{who}-$i && git add . && git commit --quiet -m "{who} $i"
                    git push --quiet origin HEAD:refs/heads/own-{who}
                    # Whoever comes second takes what the other one has pushed, and tries again.
                    until git push --quiet origin HEAD:main 2>../push{who}.err; do
                        grep -qE 'fetch first|non-fast-forward|cannot lock ref|failed to update ref|incorrect old value|reference already exists' ../push{who}.err \
                            || {{ cat ../push{who}.err >&2; exit 1; }}
                        git pull --quiet --rebase origin main
                        git push --quiet --force origin HEAD:refs/heads/own-{who}
                    done
                    # In the shared repository itself, without a clone.
                    export GIT_DIR=../shared.git
                    git tag "tag-{who}-$i" main
                    if git for-each-ref --format='%(objectname)' | git cat-file --batch-check | grep missing; then exit 1; fi
                    if [ $((i % 4)) = {who} ]; then git gc --quiet 2>../gc{who}.err || grep -q 'already running' ../gc{who}.err; fi
                    unset GIT_DIR
                done
                git fsck --full --strict"#
            );
            run::shell_within(root, &script, LIMIT).with_context(|| format!("mount {who}"))
        })?;
        for root in roots {
            let commits = 2 * COMMITS + 1;
            let check = format!(
                "git -C shared.git fsck --full --strict
                 test $(git -C shared.git rev-list --count main) = {commits}
                 test $(git -C shared.git ls-tree --name-only main | grep -c ^file-) = {}
                 test $(git -C shared.git tag | wc -l) = {}
                 git clone --quiet --no-local shared.git $(mktemp -d -p .)/fresh",
                2 * COMMITS,
                2 * COMMITS
            );
            run::shell_within(root, &check, LIMIT).context("at the end")?;
        }
        Ok(())
    })
}

#[test]
fn git_without_clones_from_two_mounts() -> Result<()> {
    locally_and_on_mounts(2, |roots| {
        let setup = format!(
            "{GIT}
             git init --quiet --bare --initial-branch=main one.git && cd one.git
             git update-ref refs/heads/main $(git commit-tree $(git hash-object -w -t tree /dev/null) -m start)"
        );
        run::shell_within(roots[0], &setup, LIMIT)?;
        at_once(roots, |who, root| {
            // Each with files and an index of its own; the branch moves on for whoever knows what it was.
            let script = format!(
                r#"{GIT}
                mkdir tree{who} && cd tree{who}
                export GIT_DIR=../one.git GIT_WORK_TREE=. GIT_INDEX_FILE=../one.git/index{who}
                for i in $(seq 1 {COMMITS}); do
                    echo "{who} $i" > file-{who}-$i
                    while true; do
                        old=$(git rev-parse main)
                        git read-tree $old
                        git add file-{who}-$i
                        new=$(git commit-tree $(git write-tree) -p $old -m "{who} $i")
                        git update-ref refs/heads/main $new $old 2>../err{who} && break
                        grep -q 'cannot lock ref' ../err{who} || {{ cat ../err{who} >&2; exit 1; }}
                    done
                done"#
            );
            run::shell_within(root, &script, LIMIT).with_context(|| format!("mount {who}"))
        })?;
        for root in roots {
            let check = format!(
                "cd one.git && git fsck --full --strict
                 test $(git rev-list --count main) = {} && test $(git ls-tree --name-only main | wc -l) = {}",
                2 * COMMITS + 1,
                2 * COMMITS
            );
            run::shell_within(root, &check, LIMIT).context("at the end")?;
        }
        Ok(())
    })
}
