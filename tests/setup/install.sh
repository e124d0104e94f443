#!/usr/bin/env bash
# Installs what the build and the tests need on a fresh Debian or Ubuntu with a Rust toolchain. Does nothing where all is there.
#
#   install.sh build   what `cargo build` and a mount need
#   install.sh test    that, and what the test suites run
set -euo pipefail

what=${1:?usage: install.sh build|test}
tools=${CAIRN_TOOLS:?set CAIRN_TOOLS to the folder for test tools}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        echo "install.sh: needs root or sudo for: $*" >&2
        exit 1
    fi
}

packages=(gcc make pkg-config fuse3 procps)
if [ "$what" = test ]; then
    packages+=(acl attr libacl1-dev libc6-dev fio git rsync sqlite3 tar e2fsprogs iproute2 postgresql)
fi

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # PostgreSQL's package would start a server of its own; the tests start theirs on the mount.
    if [ "$what" = test ]; then
        as_root mkdir -p /etc/postgresql-common/createcluster.d
        echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.d/cairn.conf >/dev/null
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [ "$what" = test ]; then
    # By it the connection of a client that was killed is aborted. It is there where systemd runs.
    mountpoint -q /sys/fs/fuse/connections ||
        as_root mount -t fusectl fusectl /sys/fs/fuse/connections 2>/dev/null ||
        echo "install.sh: cannot mount fusectl; one test of killed clients will not end" >&2

    # pjdfstest switches to two ordinary users.
    for user in cairn-test-a cairn-test-b; do
        id "$user" >/dev/null 2>&1 || as_root useradd --system --user-group --no-create-home "$user"
    done
    install_tool() {
        [ -x "$tools/bin/$1" ] && "$tools/bin/$1" --version 2>/dev/null | grep -q " $2\$" && return
        echo "building $1 $2"
        cargo install --quiet --locked --root "$tools" "$1@$2"
    }
    install_tool pjdfstest 0.2.2
    install_tool fsx 0.3.2
fi
