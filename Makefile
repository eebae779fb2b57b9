# `make demo` and `make test` each set up .venv if need be.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The two faiss packages install the same module, so exactly one is chosen.
FAISS := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
DEMO_HOME ?= demo
BENCH_HOME ?= .benchmarks

.PHONY: help setup demo test test-slow test-fuzz test-install test-cpus bench-index lint format clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.tests ## make .venv with pinned versions of everything that is tested

# The demo needs the product alone: about 2 GB less than the tests with their rivals, clusters and object stores.
$(VENV)/.demo: EXTRAS := $(FAISS),serve,train
$(VENV)/.tests: EXTRAS := $(FAISS),dev
$(VENV)/.demo $(VENV)/.tests: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

demo: $(VENV)/.demo ## the whole way on a made-up shop; leaves it in ./demo
	$(BIN)/ubm-embed demo --home $(DEMO_HOME) --overwrite

test: setup ## lint, types and the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist loadfile --no-loadscope-reorder

test-slow: setup ## the tests that take minutes
	$(BIN)/pytest -q -m slow

test-fuzz: setup ## thousands of requests that are made from the OpenAPI document, and such as break it
	$(BIN)/pytest -q -m slow tests/indexer/service/http/documentation/test_openapi.py

test-install: setup ## a fresh environment without PyTorch reads, refreshes, rolls back and exports
	$(BIN)/pytest -q -m install

test-cpus: setup ## the tests under several instruction sets, one and two threads, and on busy cores: an hour
	PYTHON=$(abspath $(BIN)/python) tests/cpus.sh

bench-index: setup ## every index at up to a million vectors: hours; keeps what is made in .benchmarks
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(FAISS),dev,engines]'
	$(BIN)/python -m benchmarks.retrieval.trained_shop $(BENCH_HOME)
	$(BIN)/python -m benchmarks.retrieval.index_kinds $(BENCH_HOME)
	$(BIN)/python -m benchmarks.retrieval.live_query $(BENCH_HOME)

format: setup ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what was made
	rm -rf $(VENV) $(DEMO_HOME) *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
