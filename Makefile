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

# Tests are named, and never packages: cargo builds libraries with the features that the packages of a command need, so that a command
# for a part of them would build most libraries once more. No two files of tests have the same name.
SYSTEM_TESTS := $(patsubst tests/tests/%.rs,--test %,$(wildcard tests/tests/*.rs))
UNIT_TESTS := --lib --bins $(foreach file,$(filter-out tests/%,$(wildcard */tests/*.rs bench/*/tests/*.rs)),--test $(basename $(notdir $(file))))

test: ## Install what the tests need and run all of them
	@tests/setup/install.sh test
	$(MAKE) unit
	$(MAKE) system

unit: ## The tests that need no mount
	cargo test --workspace --features cairn-cli/faults $(UNIT_TESTS)

system: ## The tests on real mounts with real daemons
	@tests/setup/install.sh test
	cargo build --workspace --bins $(SYSTEM_TESTS)
	cargo test --workspace $(SYSTEM_TESTS) -- --test-threads=1

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
