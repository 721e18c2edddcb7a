# make demo   a talking astronaut in out/demo.mp4, from a fresh clone
# make test   everything CI runs
# make lint   ruff and mypy
# make clean  away with what these made (also the environment)
#
# TORCH=...   which torch to install, e.g. TORCH="torch --index-url <a CUDA index>"
# JOBS=N      test processes (default: one a core)
# PYTHON=...  which Python (3.10 to 3.12) builds the environment
SHELL := /bin/bash
TORCH ?= torch==2.13.0
VENV ?= .venv
JOBS ?= auto
# The first interpreter that truly runs: a pyenv shim may exist for a version that is not active.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: demo test lint clean install

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.10, 3.11 or 3.12 found; install one or set PYTHON=/path/to/python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing torch ($(TORCH))"; $(PIP) $(TORCH)
	@echo "installing vasa and its test tools"; $(PIP) -e '.[test]'
	@BIN=$(BIN) bash scripts/mend_opencv.sh
	@touch $@

demo: install
	@mkdir -p out
	@$(BIN)/python scripts/demo_portrait.py out/astronaut.png
	@$(BIN)/vasa render out/astronaut.png vasa_cli/assets/demo_speech.flac -o out/demo.mp4 --preset friendly --overwrite

test: install
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --diff . 2>/dev/null || echo "(formatting differs in places: ruff format)"
	@$(BIN)/mypy

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
