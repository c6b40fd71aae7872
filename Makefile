# One word per task. `make run` and `make test` do all the set-up they need, in .venv.
# PYTHON names the interpreter to start from; HOST, PORT, ROOT and every other setting may be put in the
# environment or behind the word: make run PORT=8080 IMAGES="/path/to/my slides"

PYTHON ?= python3
IMAGES ?=
export IMAGES

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --require-hashes --only-binary :all:
OURS := -e . $(foreach plugin,$(wildcard plugins/*/),-e ./$(plugin))
PROJECTS := pyproject.toml $(wildcard plugins/*/pyproject.toml)
RUNTIME := .venv/.runtime
DEVELOPMENT := .venv/.development

.PHONY: help setup run test lint bench fuzz samples docs lock clean

help:
	@echo 'make run    start the server (IMAGES="/folder" imports that folder meanwhile)'
	@echo 'make test   run the whole test suite'
	@echo 'make lint   check style, types and the directions of imports'
	@echo 'make bench  measure the server against its yardsticks'
	@echo 'make fuzz   import 2,000 damaged files and ask a running server for what was taken'
	@echo 'make samples  compare the sample files with what other readers show (PIMS_SAMPLES="/folder")'
	@echo 'make docs   write the generated reference pages again'
	@echo 'make lock   resolve the requirements again (needs uv)'
	@echo 'make setup  install what the server needs, in .venv'
	@echo 'make clean  remove what the others made, but not the images in data/'

setup: $(RUNTIME)

run: setup
	@if [ -n "$$IMAGES" ]; then \
		exec $(BIN)/pims serve --images "$$IMAGES"; \
	else \
		exec $(BIN)/pims serve --demo; \
	fi

test: setup $(DEVELOPMENT)
	$(BIN)/python -m pytest

lint: setup $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup $(DEVELOPMENT)
	$(BIN)/python -m benchmarks.run

fuzz: setup $(DEVELOPMENT)
	$(BIN)/python -m benchmarks.mutations

samples: setup $(DEVELOPMENT)
	$(BIN)/python -m benchmarks.samples

docs: setup $(DEVELOPMENT)
	$(BIN)/python docs/generate.py

lock:
	@command -v uv > /dev/null || { echo 'make lock needs uv: pip install uv' >&2; exit 1; }
	.ci/lock

clean:
	rm -rf .venv build plugins/*/build *.egg-info plugins/*/*.egg-info benchmarks/out
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find pims plugins tests docs examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The locks pin every version and its hashes; our own packages are then linked into the environment by
# the build backend of the lock, without asking the network again.
$(RUNTIME): requirements.txt $(PROJECTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'PIMS needs Python 3.11 or newer; $(PYTHON) is older or missing. Try make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
		{ echo 'Python has no venv module; on Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@echo 'Installing PIMS in .venv (about a minute)'
	@$(PYTHON) -m venv .venv
	@$(INSTALL) -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation $(OURS)
	@touch $@

$(DEVELOPMENT): requirements-dev.txt $(RUNTIME)
	@echo 'Installing what tests and checks need in .venv'
	@$(INSTALL) -r requirements-dev.txt
	@touch $@
