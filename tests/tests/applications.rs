//! Real applications on a real mount.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use cairn_tests::cluster::{Cluster, Options};
use cairn_tests::mount::Mount;
use cairn_tests::run;

/// No application here takes this long on a healthy mount.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs `script` with the mount as its directory and `$SRC` as this repository's checkout.
fn on_a_mount(script: &str) -> Result<()> {
    let cluster = Cluster::with(Options { on_disk: true, ..Options::default() })?;
    let mount = cluster.mount()?;
    run_on(&mount, script)?;
    mount.unmount()?;
    cluster.wait_settled(Duration::from_secs(90))?;
    cluster.assert_fsck_clean()
}

fn run_on(mount: &Mount, script: &str) -> Result<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the checkout");
    run::shell_within(mount.path(), &format!("export SRC={}\n{script}", source.display()), LIMIT)
}

#[test]
fn git_clone_and_fsck() -> Result<()> {
    on_a_mount(
        "git clone --no-local --quiet \"$SRC\" repo
         cd repo
         git fsck --full --strict
         git -c user.name=t -c user.email=t@example.org commit --allow-empty --quiet -m empty
         git checkout --quiet -b other && git gc --quiet
         test -z \"$(git status --porcelain)\"",
    )
}

#[test]
fn tar_out_and_back() -> Result<()> {
    on_a_mount(
        "tar -C / -cf tree.tar usr/include/linux usr/include/x86_64-linux-gnu/sys
         mkdir out && tar -C out -xpf tree.tar
         diff -r --no-dereference /usr/include/linux out/usr/include/linux
         tar -C out --compare -f tree.tar
         rm -r out && test ! -e out",
    )
}

#[test]
fn rsync_twice_moves_nothing_the_second_time() -> Result<()> {
    on_a_mount(
        "rsync -aHAX /usr/include/linux/ copy/
         second=$(rsync -aHAX --itemize-changes /usr/include/linux/ copy/)
         test -z \"$second\" || { echo \"moved again: $second\"; exit 1; }
         diff -r --no-dereference /usr/include/linux copy",
    )
}

#[test]
fn sqlite_in_wal_and_rollback_mode() -> Result<()> {
    on_a_mount(
        "for mode in wal delete; do
           db=$mode.db
           sqlite3 $db \"pragma journal_mode=$mode; create table t(id integer primary key, v text);\" >/dev/null
           for i in $(seq 1 60); do echo \"insert into t(v) values(hex(randomblob(200)));\"; done | sqlite3 $db
           sqlite3 $db 'begin; insert into t(v) select hex(randomblob(500)) from t,t limit 3000; commit; delete from t where id % 3 = 0; vacuum;'
           test \"$(sqlite3 $db 'pragma integrity_check;')\" = ok
           test \"$(sqlite3 $db 'select count(*) from t;')\" = 2040
         done",
    )
}

#[test]
fn a_c_project_built_with_make() -> Result<()> {
    on_a_mount(
        r#"mkdir project && cd project
         for i in $(seq 1 40); do printf '#include <stdio.h>\nint f%d(int x) { return x + %d; }\n' $i $i > f$i.c; done
         { for i in $(seq 1 40); do echo "int f$i(int);"; done
           echo '#include <stdio.h>'; echo 'int main(void) { int s = 0;'
           for i in $(seq 1 40); do echo "s = f$i(s);"; done
           echo 'printf("%d\n", s); return 0; }'; } > main.c
         printf 'OBJ := $(patsubst %%.c,%%.o,$(wildcard *.c))\nprog: $(OBJ)\n\t$(CC) -o $@ $^\nlib.a: $(OBJ)\n\tar rcs $@ $^\n' > Makefile
         make -s -j4 prog lib.a
         test "$(./prog)" = 820
         make -s -q prog"#,
    )
}

#[test]
fn a_rust_crate_built_with_cargo() -> Result<()> {
    on_a_mount(
        "mkdir -p crate/src && cd crate
         printf '[package]\\nname = \"on-a-mount\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n[workspace]\\n' > Cargo.toml
         printf 'fn main() { println!(\"built on a mount\"); }\\n#[test]\\nfn t() { assert_eq!(1 + 1, 2); }\\n' > src/main.rs
         unset CARGO_TARGET_DIR
         cargo run --quiet --offline | grep -x 'built on a mount'
         cargo test --quiet --offline >/dev/null
         cargo build --quiet --offline --release",
    )
}

#[test]
fn postgresql_with_its_data_on_the_mount() -> Result<()> {
    let cluster = Cluster::with(Options { on_disk: true, ..Options::default() })?;
    let mount = cluster.mount()?;
    let sockets = tempfile::tempdir()?;
    run::shell(sockets.path(), "chown postgres .")?;
    let script = format!(
        "export PATH=$(ls -d /usr/lib/postgresql/*/bin | tail -1):$PATH
         mkdir data && chown postgres data && chmod 700 data
         as() {{ setpriv --reuid=postgres --regid=postgres --init-groups env PATH=\"$PATH\" HOME=/tmp \"$@\"; }}
         as initdb -D \"$PWD/data\" --auth=trust --no-instructions >/dev/null
         trap 'as pg_ctl -D \"$PWD/data\" -m immediate stop >/dev/null 2>&1 || true' EXIT
         as pg_ctl -D \"$PWD/data\" -w -t 120 -l {sockets}/log -o \"-k {sockets} -c listen_addresses=\" start >/dev/null
         as createdb -h {sockets} bench
         as pgbench -h {sockets} -i -s 2 -q bench >/dev/null 2>&1
         as pgbench -h {sockets} -c 4 -j 2 -T 15 bench
         as pg_ctl -D \"$PWD/data\" -w -m immediate stop >/dev/null
         as pg_ctl -D \"$PWD/data\" -w -t 120 -l {sockets}/log -o \"-k {sockets} -c listen_addresses=\" start >/dev/null
         as psql -h {sockets} -At bench -c 'select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)' | grep -x t
         as vacuumdb -h {sockets} -q bench
         as pg_ctl -D \"$PWD/data\" -w -m fast stop >/dev/null
         trap - EXIT",
        sockets = sockets.path().display()
    );
    let printed = run_on(&mount, &script)?;
    ensure!(printed.contains("number of failed transactions: 0"), "pgbench said: {printed}");
    mount.unmount()?;
    cluster.wait_settled(Duration::from_secs(90))?;
    cluster.assert_fsck_clean()
}

#[test]
fn fio_verifies_what_it_wrote() -> Result<()> {
    on_a_mount(
        "common='--size=96m --verify=crc32c --verify_fatal=1 --verify_dump=0 --output-format=terse --group_reporting'
         fio --name=seq --filename=seq --rw=write --bs=128k --ioengine=psync $common
         fio --name=rand --filename=rand --rw=randwrite --bs=4k --ioengine=libaio --iodepth=16 --size=32m --verify=crc32c --verify_fatal=1 --output-format=terse
         fio --name=mmap --filename=mmap --rw=randwrite --bs=4k --ioengine=mmap --size=16m --verify=crc32c --verify_fatal=1 --output-format=terse
         fio --name=direct --filename=direct --rw=randrw --bs=16k --direct=1 --ioengine=libaio --iodepth=8 --size=32m --verify=crc32c --verify_fatal=1 --output-format=terse",
    )
}

#[test]
fn find_du_df_cp_and_mv() -> Result<()> {
    on_a_mount(
        r#"cp -a /usr/include/linux tree
         test "$(find tree -type f | wc -l)" = "$(find /usr/include/linux -type f | wc -l)"
         test "$(du -s --apparent-size -B1 --exclude=nothing tree | cut -f1)" -gt 100000
         df -h . >/dev/null && df -i . >/dev/null
         test "$(df --output=target . | tail -1)" = "$PWD"
         truncate -s 200M sparse
         printf head | dd of=sparse conv=notrunc status=none
         printf middle | dd of=sparse bs=1 seek=100000000 conv=notrunc status=none
         sync sparse
         cp --sparse=always sparse copy && cmp sparse copy
         cp --sparse=auto sparse auto && cmp sparse auto
         test "$(du -B1 copy | cut -f1)" -lt 1000000
         test "$(du -B1 auto | cut -f1)" -lt 1000000
         mkdir elsewhere && mv tree elsewhere/ && test ! -e tree && diff -r --no-dereference /usr/include/linux elsewhere/tree
         mv elsewhere/tree/kernel.h . && test -s kernel.h && test ! -e elsewhere/tree/kernel.h"#,
    )
}
