# Three commands do everything from a bare clone:
#   make demo   sets up .venv, builds the native part, runs the main job on simulated ratings
#   make test   the same set-up plus the test tools; lint, types, Rust tests, Python tests
#   make bench  the same set-up plus the peers; every benchmark at full size (over an hour), benchmarks/record
# What is up to date is not done again.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUST   := Cargo.toml Cargo.lock $(shell find crates -name '*.rs' -o -name Cargo.toml)

export VIRTUAL_ENV := $(abspath $(VENV))
unexport CONDA_PREFIX
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test build lint types rust pytest bench clean tools

demo: build
	$(BIN)/halfstep demo

test: lint types rust pytest

build: $(VENV)/.built

tools:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, as '$(PYTHON)'. Install it:  apt-get install python3 python3-venv   (or: brew install python)"; \
	  echo "and run:  make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv module is missing. Install it:  apt-get install python3-venv"; exit 1; }
	@command -v cargo >/dev/null || { \
	  echo "cargo (Rust 1.89 or newer) is missing. Install it:  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"; exit 1; }
	@cargo --version >/dev/null || { \
	  echo "cargo is there but does not run. Install a toolchain:  rustup default stable"; exit 1; }
	@command -v cc >/dev/null || { \
	  echo "A C linker is missing. Install it:  apt-get install gcc   (or: xcode-select --install)"; exit 1; }

$(VENV)/.created: | tools
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade 'pip>=25.1' 'maturin>=1.9,<2'
	@touch $@

$(VENV)/.built: $(VENV)/.created pyproject.toml $(RUST)
	@echo "building the native part (release mode)"
	@$(BIN)/maturin develop --release --quiet
	@touch $@

$(VENV)/.test-tools: $(VENV)/.built pyproject.toml
	@echo "installing the test tools"
	@$(PIP) install --group test
	@touch $@

lint: $(VENV)/.test-tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	cargo fmt --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

types: $(VENV)/.test-tools
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest halfstep._native

rust: $(VENV)/.created
	cargo test --workspace --quiet --tests

pytest: $(VENV)/.test-tools
	$(BIN)/python -m pytest -q -n auto

PEERS := benchmarks/.venv-peers/.installed

$(PEERS): benchmarks/setup_peers.sh $(wildcard benchmarks/peers*.txt)
	@echo "installing the peers (about 7 GB; minutes)"
	@PYTHON="$(PYTHON)" sh benchmarks/setup_peers.sh
	@touch $@

bench: $(VENV)/.built $(PEERS)
	@$(PIP) install --group bench
	$(BIN)/python benchmarks/bench.py $(BENCH)

clean:
	rm -rf $(VENV) target build src/halfstep/*.so
