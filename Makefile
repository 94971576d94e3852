# Everything starts here: each target makes the virtual environment from the lock file when it is missing or out of date,
# and the servers' Java parts are downloaded once, on their first use. Needs: Python 3.11 or newer with venv, and make.
#
# ARGS reaches the command behind the target: make up ARGS="--port kafka=9092", make test ARGS="-k relay".
# WORKERS: how many test files run at a time, each worker with servers of its own.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo up down status test test-containers containers bench check lock clean
ARGS ?=
WORKERS ?= 2
# What make test-containers runs: the tests in which servers and processes meet. The others of tests/e2e are about one process,
# and those that restart servers need the embedded ones; TESTS=tests/e2e runs all that can be.
TESTS ?= $(patsubst %,tests/e2e/test_%.py,path random_logs sales messages shop refresh prefer_wait stale_reader stops)

# The first interpreter that is new enough and can make a virtual environment; make PYTHON=/path/to/python overrides.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
VENV := .venv
MADE := $(VENV)/.made
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name what; do printf '  make %-15s %s\n' "$$name" "$$what"; done

demo: $(MADE) ## start everything on data of its own, show orders becoming rows, compare with SQL, stop everything
	@$(BIN)/python -m deploy.local demo $(ARGS)

up: $(MADE) ## start everything and leave it running; finds a running one
	@$(BIN)/python -m deploy.local up $(ARGS)

down: $(MADE) ## stop what make up started; the data stays in .local
	@$(BIN)/python -m deploy.local down $(ARGS)

status: $(MADE) ## what is running, and where
	@$(BIN)/python -m deploy.local status $(ARGS)

test: $(MADE) ## every test, on real servers of its own
	@$(BIN)/python -m tests --workers $(WORKERS) $(ARGS)

# Containers are begun by the first test that asks for servers: its own time-out must not count that.
test-containers: $(MADE) ## the whole path's tests on PostgreSQL, Kafka and Cassandra in containers (deploy/README.md); TESTS chooses
	@LOCKSTEP_TEST_SERVERS=containers $(BIN)/python -m pytest -o timeout_func_only=true $(TESTS) $(ARGS)

containers: $(MADE) ## prove them from nothing, with an engine of its own where there is none: a handful of those tests, compose, the demonstration
	@bash .ci/containers

bench: $(MADE) ## measure, print a table, write .local/bench.json
	@$(BIN)/python -m tests.bench $(ARGS)

check: $(MADE) ## lint, formatting, types, and which package may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lock: $(MADE) ## resolve the Python and Java dependencies again (needs uv and the network)
	@command -v uv >/dev/null || { echo "error: uv is not installed; it writes requirements.lock: pipx install uv" >&2; exit 1; }
	@uv pip compile -q pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-header -o requirements.lock
	@echo "# Made by: make lock. What the processes need, without tests and the local stack's servers." > deploy/requirements.lock
	@uv pip compile -q pyproject.toml --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-header --no-annotate --constraint requirements.lock >> deploy/requirements.lock
	@$(BIN)/python -m deploy.local lock

clean: ## remove the environment and caches of tools; .local (data) stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(MADE): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: no Python 3.11 or newer with the modules venv and ensurepip was found" >&2; \
		for p in python3 python3.14 python3.13 python3.12 python3.11; do \
			command -v "$$p" >/dev/null 2>&1 && echo "  $$p: $$("$$p" -c 'import sys; print(sys.version.split()[0])'), $$("$$p" -c 'import venv, ensurepip' 2>&1 | tail -n 1)" >&2; done; \
		echo "  → install one (Debian, Ubuntu: apt install python3.11-venv), or name it: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "making $(VENV) from requirements.lock" >&2
	@"$(PYTHON)" -m venv $(VENV)
	@sed -n '/^pip==/,/[^\\]$$/p' requirements.lock | $(PIP) --require-hashes -r /dev/stdin # twice as fast as the interpreter's own may be
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true # pip would do it on one core; what fails is no module of ours
	@touch $(MADE)
