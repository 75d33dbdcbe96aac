# What people and CI run. Every target works in a fresh clone; nothing needs a manual step before it.
#
#   make demo    set everything up and show the main job, end to end
#   make test    set everything up, check and test
#   make chaos   kill every part of a split deployment while studies come in, and compare the books
#   make fuzz    20,000 broken senders against the listener (minutes)
#   make crash   kill the listener 50 times while 20 studies come (minutes)
#   make test-heads   the mask against looking everywhere, on whole heads (minutes)
#   make test-models   every network of the table learns two phantoms by heart, at its own size (hours without a GPU)
#   make check   style, types, import contracts, licences
#   make gpu-check   parity, speed and memory on a CUDA device; says so where there is none
#   make test-viewer   results in a real OHIF; SCREENSHOTS=DIR keeps what was seen

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := ichor listener models worker console
DEMO_OUT ?= demo-out
DEMO_ARGS ?=
CHAOS_ARGS ?=
PYTEST_ARGS ?=

# Real peers of the tests and the program whose presence shows that the package is there.
PEERS := redis-server=redis-server dcmsend=dcmtk dciodvfy=dicom3tools Orthanc=orthanc chromium=chromium
PEER_FILES := /usr/share/orthanc/plugins/libOrthancDicomWeb.so=orthanc-dicomweb /usr/lib/postgresql=postgresql

# The viewer of the tests, as published: a complete static site.
OHIF_VERSION := 3.13.2
OHIF_SHA256 := b189d3963bfc58e9394a9db8c7be75d07beb029ec211dbb126d47b62969dd3f1
OHIF := .cache/ohif-$(OHIF_VERSION)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help venv check test test-heads test-models test-viewer chaos demo gpu-check peers ohif wheel clean

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

venv: $(VENV)/.stamp-dev

# The demo needs what the node needs; the tools for checking are a second step.
$(VENV)/.stamp-node: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	@if [ ! -x $(BIN)/python ] || ! $(BIN)/python -m pip --version > /dev/null 2>&1; then \
	  $(PYTHON) -m venv --clear $(VENV) || { $(call apt-install,python3-venv); $(PYTHON) -m venv --clear $(VENV); }; \
	fi
	@echo "Installing the node into $(VENV) (torch is large; a minute or two)"
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@# Setuptools warns of folders named like packages; ours are the packages.
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-node
	@$(BIN)/python -m pip install --quiet --group dev
	@touch $@

check: $(VENV)/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES) tests
	$(BIN)/lint-imports
	$(BIN)/python tests/check_licences.py

wheel: $(VENV)/.stamp-dev
	$(BIN)/python tests/check_wheel.py

# Most tests wait for programs: three at a time, with one thread each for arithmetic, in the order of the folders, so that
# the long ones are not last. The slow ones need the machine.
test: $(VENV)/.stamp-dev peers ohif check wheel
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow" $(PYTEST_ARGS)
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

# Whole heads, everywhere and under the mask: minutes.
test-heads: $(VENV)/.stamp-dev
	WHOLE_HEADS=1 $(BIN)/python -m pytest --timeout 3600 tests/console/test_mask_on_heads.py $(PYTEST_ARGS)

test-viewer: $(VENV)/.stamp-dev peers ohif
	SCREENSHOTS="$(SCREENSHOTS)" $(BIN)/python -m pytest tests/viewer $(PYTEST_ARGS)

test-models: $(VENV)/.stamp-dev
	MODELS_FULL=1 $(BIN)/python -m pytest --timeout 7200 tests/models/networks $(PYTEST_ARGS)

chaos: $(VENV)/.stamp-dev peers
	$(BIN)/python -m tests.chaos.run $(CHAOS_ARGS)

fuzz: $(VENV)/.stamp-dev peers
	FUZZ_CASES=20000 $(BIN)/python -m pytest --timeout 7200 tests/listener/test_fuzz.py $(PYTEST_ARGS)

crash: $(VENV)/.stamp-dev peers
	CRASH_KILLS=50 CRASH_STUDIES=20 $(BIN)/python -m pytest --timeout 7200 tests/listener/test_crash.py $(PYTEST_ARGS)

gpu-check: $(VENV)/.stamp-dev
	@if $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
	  $(BIN)/python -m pytest -m gpu tests/models && \
	  ICHOR_ANALYSIS__DEVICE=cuda $(BIN)/ichor benchmark engine --members 12; \
	else echo "skipped: no CUDA device here, nothing was measured"; fi

demo: $(VENV)/.stamp-node
	$(BIN)/ichor demo --out $(DEMO_OUT) $(DEMO_ARGS)

# RUNLEVEL=1 keeps Debian from starting the services: the tests start their own, on loopback and free ports.
define apt-install
if [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then \
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
  apt-get update -qq && apt-get install -y -qq --no-install-recommends $(1) > /dev/null; \
else echo "missing and not installed (needs root on Debian): $(1)"; fi
endef

peers:
	@missing=""; \
	for pair in $(PEERS); do command -v "$${pair%%=*}" > /dev/null || missing="$$missing $${pair##*=}"; done; \
	for pair in $(PEER_FILES); do [ -e "$${pair%%=*}" ] || missing="$$missing $${pair##*=}"; done; \
	if [ -n "$$missing" ]; then \
	  echo "Peers for the integration tests:$$missing"; \
	  { $(call apt-install,$$missing); } || echo "could not install$$missing; tests that need them will be skipped"; \
	fi

ohif:
	@if [ ! -e $(OHIF)/dist/index.html ]; then \
	  command -v npm > /dev/null || { $(call apt-install,npm); }; \
	  mkdir -p $(OHIF) && cd $(OHIF) && echo "Fetching OHIF $(OHIF_VERSION) for the viewer tests" && \
	  { npm pack --silent @ohif/app@$(OHIF_VERSION) > /dev/null && \
	    echo "$(OHIF_SHA256)  ohif-app-$(OHIF_VERSION).tgz" | sha256sum --check --quiet && \
	    tar xzf ohif-app-$(OHIF_VERSION).tgz --strip-components=1 --exclude='*.map' && rm ohif-app-$(OHIF_VERSION).tgz; } || \
	  echo "could not fetch OHIF; the viewer tests will be skipped"; \
	fi

clean:
	rm -rf $(VENV) build dist .cache $(DEMO_OUT) *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
