# Every command of this project. `make` alone lists them; each one installs first what it needs (`setup`).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK_VENV := .cache/lock
# Further arguments of `demo`, `run`, `test`, `rules`, `soak`, `bench`, `bench-close`, `loadtest` and `lock`, such as ARGS=--serve.
ARGS ?=
ENGINE ?=
# Processes that share the tests.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo run test rules soak check lint types tidy bench bench-close loadtest lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## make .venv with everything that requirements.lock pins

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## show the pipeline at work (ENGINE=kafka: the distributed engine; ARGS=--serve leaves it running)
	$(BIN)/meterline demo $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

run: setup ## serve on port 8000 with the embedded engine, data in .meterline/
	$(BIN)/meterline run $(ARGS)

test: setup ## run the whole test suite
	@$(BIN)/pytest -n $(WORKERS) --no-loadscope-reorder $(ARGS)

rules: setup ## list each rule of the reference with the tests that assert it, and those that none asserts
	@$(BIN)/python -m tests.rules $(ARGS)

soak: setup ## run the proofs at full count; it ends with one table of them
	METERLINE_SOAK=1 $(BIN)/pytest -s $(wildcard tests/story tests/simulation tests/property tests/vectors) $(ARGS)

check: lint types tidy ## check format, lint, types, import contracts and house rules

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

tidy: setup
	$(BIN)/pytest -q tests/tidy

bench: setup ## measure the pipeline on this machine
	$(BIN)/meterline bench $(ARGS)

bench-close: setup ## measure the close of 1,000 and 10,000 subscriptions, which takes about 20 minutes
	$(BIN)/meterline bench-close $(ARGS)

loadtest: setup ## drive a running server as clients do
	$(BIN)/python loadtests/run.py $(ARGS)

lock: setup ## pin the dependencies of pyproject.toml anew (ARGS=--upgrade takes newer versions)
	$(PYTHON) -m venv $(LOCK_VENV)
	$(LOCK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'pip-tools>=7.4,<8'
	CUSTOM_COMPILE_COMMAND='make lock' $(LOCK_VENV)/bin/pip-compile --quiet --extra dev --generate-hashes --allow-unsafe \
		--strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--output-file requirements.lock $(ARGS) pyproject.toml

clean: setup ## remove caches and build products (data in .meterline/ stays)
	rm -rf .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
