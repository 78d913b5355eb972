# What a person types: `make demo`, `make test`, `make lint`, `make check`, `make bench`, `make clean`.
#
# Everything happens in .venv. Stamp files in it remember what was installed, so nothing is rebuilt until a source
# changes. PYTHON=... chooses an interpreter; LUTMAC_ISA=avx2 forces an ISA target (native/targets.def).

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
MODEL ?= smollm2
QUESTION ?= Why is the sky blue? Answer in three sentences.

SOURCES := pyproject.toml CMakeLists.txt $(shell find src native -type f -not -path '*/__pycache__/*' 2>/dev/null)

.PHONY: demo test lint check check-wheels clients bench format page wheel docs clean

demo: $(VENV)/.lutmac
	@$(BIN)/lutmac pull $(MODEL) >/dev/null
	@echo '$$ lutmac run $(MODEL) "$(QUESTION)"'
	@$(BIN)/lutmac run $(MODEL) "$(QUESTION)" < /dev/null

test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

# What is too slow for `make test`.
check: $(VENV)/.test
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

# Builds the aarch64 wheel and runs it in an emulator; the compiler is a large download.
check-wheels: $(VENV)/.wheel
	$(BIN)/python -m pytest -m slow tests/wheels

# Programs that people use, each in an environment of its own, against a real server. CLIENTS="openai aider" names some.
clients: $(VENV)/.test
	$(BIN)/python tests/clients/run.py $(CLIENTS)

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.lutmac
	$(BIN)/lutmac bench $(MODEL) --threads 1,2

# Bundles the page of page/ into src/lutmac/server/static. The bundle is committed: only who changes page/ needs Node.
page:
	@command -v npm >/dev/null || { echo 'make page needs Node 20 or newer with npm' >&2; exit 1; }
	cd page && npm ci --silent && node build.js

# Wheels for manylinux_2_28 on x86-64 and aarch64, and a source distribution, in dist/. One wheel is for Python 3.11, one for the
# stable ABI of 3.12 and later. Where one of the two Pythons is missing (with its headers), the other's wheels are built, and
# a line says which are not. WHEEL_ARGS="--arch x86_64 --python /path/to/python3.12" chooses.
wheel: $(VENV)/.wheel
	$(BIN)/python packaging/build_wheels.py $(WHEEL_ARGS)

# The documentation as a site, in build/docs.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs build/docs

clean:
	rm -rf $(VENV) build dist page/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@set -e; \
	for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	[ -n "$$python" ] || { echo 'lutmac needs Python 3.11 or newer: install it, or say where it is: make PYTHON=/path/to/python3' >&2; exit 1; }; \
	[ -n "$$CXX" ] || command -v c++ g++ clang++ >/dev/null || { echo 'lutmac needs a C++20 compiler: install g++ or clang++, or name one: CXX=... make' >&2; exit 1; }; \
	$$python -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || \
	  { echo "lutmac needs the headers of $$python: install them (Debian and Ubuntu: python3-dev)" >&2; exit 1; }; \
	echo "creating $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV) || { echo "cannot create $(VENV): $$python needs its venv module (Debian and Ubuntu: python3-venv)" >&2; exit 1; }
	@touch $@

# One of the lists of requirements in pyproject.toml, one a line.
REQUIREMENTS = $(BIN)/python -c 'import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb")); \
  print(*{**project["project"]["optional-dependencies"], "build": project["build-system"]["requires"]}[sys.argv[1]], sep="\n")'

# Builds in the environment itself: an isolated one is new each time, and would compile everything again.
$(VENV)/.build: | $(VENV)/.python
	@$(REQUIREMENTS) build > $(VENV)/build.txt
	@$(PIP) install -r $(VENV)/build.txt 'cmake>=3.20' ninja
	@touch $@

$(VENV)/.lutmac: $(SOURCES) | $(VENV)/.build
	@echo 'building and installing lutmac'
	@$(PIP) install --no-build-isolation .
	@touch $@

$(VENV)/.test: $(VENV)/.lutmac
	@$(REQUIREMENTS) test > $(VENV)/test.txt
	@$(PIP) install -r $(VENV)/test.txt
	@touch $@

$(VENV)/.wheel: | $(VENV)/.python
	@$(REQUIREMENTS) wheel > $(VENV)/wheel.txt
	@$(PIP) install -r $(VENV)/wheel.txt
	@touch $@

$(VENV)/.docs: $(VENV)/.lutmac
	@$(REQUIREMENTS) docs > $(VENV)/docs.txt
	@$(PIP) install -r $(VENV)/docs.txt
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	@$(REQUIREMENTS) dev > $(VENV)/dev.txt
	@$(PIP) install -r $(VENV)/dev.txt
	@touch $@
