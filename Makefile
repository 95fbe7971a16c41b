# One target per task. `make` creates its environment in .venv: a plain venv with uv in it.
.DEFAULT_GOAL := help
.PHONY: help install compiled server demo dev test test-long lint format bench chaos generated screenshots clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The version that wrote uv.lock.
UV_VERSION := 0.13.9
UV := UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
AZURITE := qt_pipeline_tests/azurite

help:  ## show these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "qt_pipeline needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv==$(UV_VERSION)

$(RUN_STAMP): pyproject.toml uv.lock | $(BIN)/uv
	$(UV) sync --locked --quiet --no-dev --inexact --compile-bytecode
	@touch $@

$(DEV_STAMP): pyproject.toml uv.lock | $(BIN)/uv
	$(UV) sync --locked --quiet --inexact --compile-bytecode
	@touch $@ $(RUN_STAMP)

install: compiled  ## make the environment in .venv, with the command qt-pipeline in it

compiled: $(RUN_STAMP)
	@$(BIN)/python -m compileall -q qt_pipeline

server: compiled  ## install what a server may also need: a landing on Azure Blob, Dagster's storage in PostgreSQL
	$(UV) sync --locked --quiet --no-dev --inexact --extra server

demo: compiled  ## run the whole path on this machine; ONCE=1 does one round and exits
	@$(BIN)/qt-pipeline demo $(if $(ONCE),--once)

dev: compiled  ## run Dagster's UI and daemon on your settings
	@$(BIN)/qt-pipeline dev

$(AZURITE)/node_modules/.installed: $(AZURITE)/package.json $(AZURITE)/package-lock.json
	@if command -v npm > /dev/null; \
	then npm ci --prefix $(AZURITE) --ignore-scripts --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "npm is not installed: tests with an Azure queue are skipped."; fi

test: $(DEV_STAMP) $(AZURITE)/node_modules/.installed  ## run every test except the longest
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m "not long"

test-long: $(DEV_STAMP) $(AZURITE)/node_modules/.installed  ## run the longest tests, and properties with ten times the examples
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "long or hypothesis" --hypothesis-profile thorough

lint: $(DEV_STAMP)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache

format: $(DEV_STAMP)  ## fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV_STAMP) compiled  ## measure on this machine, beside other loaders, and write docs/benchmarks.md
	$(UV) sync --locked --quiet --inexact --group bench
	$(BIN)/python -m qt_pipeline_tests.bench

chaos: $(DEV_STAMP) compiled  ## kill, fill, flood and load random files for two hours; count what was lost or wrong
	$(BIN)/python -m qt_pipeline_tests.chaos relay
	$(BIN)/python -m qt_pipeline_tests.chaos lives
	$(BIN)/python -m qt_pipeline_tests.chaos bursts
	$(BIN)/python -m qt_pipeline_tests.chaos loads --minutes 60

generated: $(DEV_STAMP)  ## write the generated documents: settings, catalog keys and schema, alerts, commands
	$(BIN)/python -m qt_pipeline_tests.generated

screenshots: $(DEV_STAMP)  ## retake the screenshots of the README in a real browser
	$(BIN)/python -m qt_pipeline_tests.screenshots

clean:  ## remove local state and the environment
	rm -rf .qt $(VENV)
