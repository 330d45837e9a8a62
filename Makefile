# podlan's tasks. `make` lists them; `make demo` and `make test` set up all they need first, and need root for that
# and for the network namespaces they work in.

# The Python to make .venv with: the first of python3, python3.14 ... python3.11 that is 3.11 or newer, unless named here.
PYTHON ?=
PYTEST_ARGS ?=
FUZZ_SECONDS ?= 300

# Debian packages. The plugins are what the lab puts pods on the network with; the tests watch podlan with the rest.
LAB_PACKAGES := containernetworking-plugins iproute2 iputils-ping mount nftables util-linux
BENCH_PACKAGES := $(LAB_PACKAGES) net-tools
TEST_PACKAGES := $(LAB_PACKAGES) busybox-static containerd curl git iputils-arping openssh-client openssl procps runc shellcheck \
    strace systemd systemd-container
# The virtual machine's kernel is Debian's for clouds, downloaded and unpacked below .venv, not installed.
VM_PACKAGES := $(LAB_PACKAGES) busybox-static cpio kmod procps qemu-system-common qemu-system-x86

# Paths are relative throughout, so that the clone may lie in a folder with spaces in its name.
BIN := .venv/bin
IFSTATE := .venv/ifstate/bin/ifstatecli
PEERS := .venv/peers/installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:  # the steps of a task stand in their order

.PHONY: help
help: ## list the tasks
	@echo 'usage: make TASK'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: root lab-packages venv ## the example site in network namespaces on this machine, with real CNI plugins (root)
	@$(BIN)/podlan lab demo site

.PHONY: test
test: root test-packages venv lint-shell check ## every check and every test (root)
	@tmp=$$(mktemp -d) && \
	$(BIN)/python -m pytest -n $$((2 * $$(nproc))) --maxprocesses=8 --dist worksteal --basetemp="$$tmp/pytest" $(PYTEST_ARGS) && \
	rm -rf --one-file-system "$$tmp"  # what failed tests wrote stays, for a look

.PHONY: proof
proof: root test-packages venv ## the node's proofs over every call, order and setting, and many more drifts (root, about 15 minutes)
	@PROOF=1 $(BIN)/python -m pytest -n 2 --timeout 1800 $(PYTEST_ARGS) \
	    tests/node/test_speaking.py tests/node/test_faults.py tests/node/test_drift.py

.PHONY: e2e
e2e: root test-packages venv ## nodes that boot, fail and lose power, many more times than in make test (root, about 7 minutes)
	@PROOF=1 $(BIN)/python -m pytest --timeout 1800 $(PYTEST_ARGS) tests/e2e

.PHONY: test-newer-plugins
test-newer-plugins: root test-packages venv ## what a newer release of the CNI plugins does, from Debian unstable (root)
	@.ci/plugins .venv/cni-plugins
	@PODLAN_CNI_RELEASE=1.9.1 PODLAN_CNI_PLUGINS="$$PWD/.venv/cni-plugins/usr/lib/cni" \
		$(BIN)/python -m pytest tests/oracle/test_networks.py tests/oracle/test_newer_plugins.py

.PHONY: e2e-vm
e2e-vm: root vm-packages venv ## VLANs, and bonds that fail over while pods talk, in virtual machines in software: minutes (root)
	@$(BIN)/python tests/vm/together.py .venv/vm

.PHONY: setup
setup: test-packages venv ## what the other tasks need: Debian packages and .venv (root, if packages are missing)

.PHONY: check
check: venv ## ruff, mypy and the layers
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@report=$$($(BIN)/lint-imports 2>&1) || { printf '%s\n' "$$report"; exit 1; }

.PHONY: format
format: venv ## write the code as ruff wants it
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet

.PHONY: schemas
schemas: venv ## write schemas/*.json from the models
	@$(BIN)/python -m podlan.cli.schemas schemas

.PHONY: docs
docs: venv ## write docs/findings.md, what every code means, from the rules
	@$(BIN)/python -m podlan.cli.findings docs/findings.md

.PHONY: counts
counts: venv ## write tests/cli/cost-of-a-compile.txt, the calls that a compile makes
	@PYTHONPATH=tests/support $(BIN)/python tests/support/counting.py tests/cli/cost-of-a-compile.txt

.PHONY: site
site: venv ## compile the example site into output/
	@$(BIN)/podlan compile site -o output

.PHONY: node
node: venv ## build dist/podlan-node.pyz, the node's side in one file
	@$(BIN)/python .ci/node_archive.py dist/podlan-node.pyz

.PHONY: bench
bench: venv $(PEERS) ## what a compile costs for 10 to 10,000 nodes, beside `cp -r`, kapitan and aerleon (15 minutes)
	@PYTHONPATH=tests/support $(BIN)/python tests/bench/compile.py $(BENCH_ARGS)

.PHONY: bench-guard
bench-guard: venv ## fail if a compile of 10,000 nodes has become far slower than `cp -r` of what it writes
	@PYTHONPATH=tests/support $(BIN)/python tests/bench/compile.py --guard --sizes 10000 $(BENCH_ARGS)

.PHONY: bench-shards
bench-shards: venv ## 50 sites of 2,000 nodes, spread over shards by xargs and joined by the audit
	@PYTHONPATH=tests/support $(BIN)/python tests/bench/shards.py $(BENCH_ARGS)

.PHONY: bench-alloc
bench-alloc: venv ## how long allocation takes for 1,000 to 100,000 nodes, and how it grows
	@$(BIN)/python tests/bench/alloc.py $(BENCH_ARGS)

.PHONY: bench-check
bench-check: venv ## what findings cost: check of 10,000 nodes, with and without errors, beside a cold compile
	@$(BIN)/python tests/bench/check.py $(BENCH_ARGS)

.PHONY: bench-node
bench-node: root bench-packages venv node $(IFSTATE) ## what a node's run costs in time and packets, beside the how-to's lines and ifstate (root)
	@PYTHONPATH=tests/support $(BIN)/python tests/bench/node.py $(BENCH_ARGS)

.PHONY: bench-lab
bench-lab: root lab-packages venv ## what a lab of 50 nodes and 200 pods costs; fails if it is not up in a minute (root)
	@$(BIN)/python tests/bench/lab.py $(BENCH_ARGS)

.PHONY: fuzz
fuzz: venv ## feed the loader broken sites, others in every run, for FUZZ_SECONDS (300)
	@end=$$(($$(date +%s) + $(FUZZ_SECONDS))); while [ "$$(date +%s)" -lt "$$end" ]; do \
	    env -u CI FUZZ_EXAMPLES=1000 $(BIN)/python -m pytest -q tests/fuzz/test_loader.py $(PYTEST_ARGS) || exit 1; \
	done

.PHONY: clean
clean: ## remove what the other tasks made, .venv included
	@rm -rf .venv dist build compiler/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find compiler tests .ci -name __pycache__ -prune -exec rm -rf {} +

# What the tasks above begin with. Each does nothing, quickly, when nothing is to be done.

.PHONY: venv
venv: ## .venv alone, with podlan and its tools (no root)
	@PYTHON='$(PYTHON)' .ci/venv

.PHONY: lab-packages
lab-packages:
	@.ci/packages $(LAB_PACKAGES)

.PHONY: test-packages
test-packages:
	@.ci/packages $(TEST_PACKAGES)

.PHONY: vm-packages
vm-packages:
	@.ci/packages $(VM_PACKAGES)

.PHONY: bench-packages
bench-packages:
	@.ci/packages $(BENCH_PACKAGES)

# An environment of its own, for one comparison: ifstate is no part of podlan.
$(IFSTATE): | venv
	@$(BIN)/python -m venv .venv/ifstate
	@.venv/ifstate/bin/pip install --quiet 'ifstate>=2.5.1'

# And one for the compilers that `make bench` compares with.
$(PEERS): | venv
	@$(BIN)/python -m venv .venv/peers
	@.venv/peers/bin/pip install --quiet 'kapitan>=0.36.3' 'aerleon>=1.18'
	@touch $@

.PHONY: lint-shell
lint-shell:
	@shellcheck .ci/run .ci/packages .ci/plugins .ci/venv

.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo 'make $(MAKECMDGOALS) needs root: it installs packages and makes network namespaces; try sudo make $(MAKECMDGOALS)' >&2; exit 1; }
