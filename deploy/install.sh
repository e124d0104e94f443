#!/usr/bin/env bash
# Installs CairnFS on this machine: the binary, the mount helper that `mount -t cairn` and fstab use, and the systemd units.
#
#   PREFIX=/usr/local deploy/install.sh
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/usr/local}
# mount(8) looks for helpers in /sbin alone.
sbin=${SBINDIR:-/sbin}
units=${UNITDIR:-/etc/systemd/system}

cargo build --release -p cairn-cli
target=${CARGO_TARGET_DIR:-target}
install -D -m 755 "$target/release/cairn" "$prefix/bin/cairn"
ln -sf "$prefix/bin/cairn" "$sbin/mount.cairn"
# For `mount -o remount`: the mount table names the type so.
ln -sf "$prefix/bin/cairn" "$sbin/mount.fuse.cairn"
for unit in metaserver chunkserver; do
    mkdir -p "$units"
    sed "s|/usr/local/bin|$prefix/bin|" "deploy/systemd/cairn-$unit.service" > "$units/cairn-$unit.service"
    install -d /etc/cairn
    [ -e "/etc/cairn/$unit.toml" ] || install -m 644 "deploy/config/$unit.toml" "/etc/cairn/$unit.toml"
done
echo "installed $prefix/bin/cairn, $sbin/mount.cairn, and the units in $units"
echo "next: edit /etc/cairn/*.toml, then: systemctl enable --now cairn-metaserver cairn-chunkserver"
