# The commands of this project. `make up` and `make test` do their own set-up on a fresh Debian or Ubuntu with a Rust toolchain.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
export CAIRN_TOOLS ?= $(TARGET_DIR)/tools
UP_DIR ?= $(CURDIR)/.cairn

.PHONY: up test unit system verify fix bench scale install clean help

help: ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: ## Build, start a cluster in one process and mount it (Ctrl-C ends it; the data stays in .cairn/)
	@tests/setup/install.sh build
	cargo build --release -p cairn-cli
	$(TARGET_DIR)/release/cairn up --data $(UP_DIR)/data --mount $(UP_DIR)/mnt

test: ## Install what the tests need and run all of them
	@tests/setup/install.sh test
	cargo build --workspace
	$(MAKE) unit
	cargo test -p cairn-tests -- --test-threads=1

unit: ## The tests that need no mount
	cargo test --workspace --exclude cairn-tests --features cairn-cli/faults

system: ## The tests on real mounts with real daemons
	@tests/setup/install.sh test
	cargo build -p cairn-cli -p cairn-tests
	cargo test -p cairn-tests -- --test-threads=1

verify: ## Format, lints (only reads)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --all-targets --features cairn-cli/faults -- -D warnings

fix: ## Format, and apply what clippy can
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all

bench: ## The ruler: CairnFS beside MooseFS, the local disk and an empty FUSE filesystem (ARGS=--quick; see docs/benchmarks.md)
	bench/run $(ARGS)

scale: ## What thousands of chunkservers cost a metaserver (ARGS='--servers N --chunks N'; 10 GiB of memory; see docs/scale.md)
	cargo run --release -p cairn-scale -- $(ARGS)

install: ## Install the binary, the mount helper and the systemd units (PREFIX=/usr/local)
	deploy/install.sh
