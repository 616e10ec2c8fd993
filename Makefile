# One entry point for everything. Each target does its own set-up, once; `make help` lists them.
# The set-up is repeated only when pyproject.toml, constraints.txt or the set-up itself changes.

SHELL := /bin/bash
BIN := .venv/bin
READY := .venv/.ready
WORKERS ?= 2

# Two processes of one thread beat one process of two on models of this size.
export OMP_NUM_THREADS := 1
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo reproduce prove tables check format test bench clean

help:  ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(READY)  ## a virtual environment in .venv with everything pinned, and the libraries for off-screen rendering
	@echo "setup: up to date in .venv"

$(READY): pyproject.toml constraints.txt scripts/setup.sh scripts/system_libraries.sh
	@bash scripts/setup.sh
	@touch $@

demo: $(READY)  ## a robot samples, scores, imagines, revises and acts; ends with an HTML report
	@$(BIN)/tau0 demo

reproduce: $(READY)  ## collect, train and evaluate the demo model from nothing, on two CPU cores in an hour and a quarter
	@$(BIN)/tau0 reproduce

prove: $(READY)  ## run the demo suite's table again, and compare it with the episodes that were published; says first how long it takes
	@$(BIN)/tau0 prove --workers $(WORKERS)

tables: $(READY)  ## make README's tables anew from the published episodes; nothing is simulated
	@$(BIN)/tau0 tables --write README.md

check: $(READY)  ## style, types and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

format: $(READY)  ## put the code in the form that check wants
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: $(READY)  ## the test suite
	$(BIN)/python -m pytest -n $(WORKERS)

bench: $(READY)  ## speed, measured on this machine
	@shopt -s nullglob; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

clean:  ## remove the environment and every cache, but no data and no runs
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
