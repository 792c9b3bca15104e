PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints.txt
RUN := runs/demo.gnoise

.PHONY: help demo test bench clean chromium
.DEFAULT_GOAL := help

help: ## Say what there is to make
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 15

demo: .venv/.installed ## Profile the shipped checkpoint and print the verdict
	@mkdir -p $(dir $(RUN))
	@$(BIN)/gnoise profile sample_checkpoints/gpt-docs -o $(RUN) --force
	@$(BIN)/gnoise export $(RUN) --format json -o runs/recommendations.json --force
	@echo "Open the dashboard: $(BIN)/gnoise app $(RUN)"

test: .venv/.installed-dev chromium ## Lint, check types and imports, run the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python -m pytest

# The dashboard is tested in a real browser: the system's own, so that none is downloaded.
chromium:
	@command -v chromium >/dev/null || { echo "Installing chromium for the browser tests"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } \
	  || { echo "expected chromium, got none; try apt-get install chromium as root" >&2; exit 1; }

bench: .venv/.installed-dev chromium ## Run every benchmark; tables here, JSON in benchmarks/results
	@set -e; for script in $(sort $(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python "$$script"; done

clean: ## Remove the environment, caches and runs
	rm -rf .venv runs .hypothesis .pytest_cache .ruff_cache .import_linter_cache

# One environment, two stamps: what the demo needs, and the development tools on top of it.
.venv/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing gnoise into .venv (a few minutes the first time: torch is large)"
	@$(PIP) -e '.[hf]'
	@touch $@

.venv/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing gnoise and its development tools into .venv (a few minutes the first time: torch is large)"
	@$(PIP) -e '.[dev]'
	@touch .venv/.installed $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "expected Python 3.11 or newer, got " + sys.version.split()[0] + "; try make PYTHON=python3.11")'
	@$(PYTHON) -m venv .venv
