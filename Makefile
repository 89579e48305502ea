# Two commands are enough: `make demo` and `make test`. Each sets up .venv by itself.
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.run-$(shell cksum requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
DEV_STAMP := $(VENV)/.dev-$(shell cksum requirements-dev.lock pyproject.toml | cksum | cut -d' ' -f1)
# Tests wait more than they compute; each process starts a Kafka of its own. tests/conftest.py says which come first.
JOBS := 3
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet
# Kernels are compiled here, with a word about it, rather than at the first start of something.
COMPILE := echo "compiling kernels, once" >&2; $(BIN)/python -m driftbus.stream.worker.warmup

.PHONY: help install demo test faults fuzz lint format pictures bench bench-detection soak locks audit sbom licences dist clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: $(DEV_STAMP) ## set up .venv with everything pinned and hashed, for development

demo: $(RUN_STAMP) ## a drifting stream in the terminal, without Docker and without Java
	@$(BIN)/driftbus demo $(ARGS)

test: $(DEV_STAMP) ## all tests, on a real Apache Kafka; ARGS='-k name' narrows them
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

faults: $(DEV_STAMP) ## random faults on a real Kafka against a replay, see docs/faults.md; ARGS='--seeds 0:200 --jobs 2'
	@PYTHONPATH=tests $(BIN)/python -m faults.campaign $(ARGS)

fuzz: $(DEV_STAMP) ## bad input at random, a minute for each reader of bytes; ARGS='--time 600 decoder csv' (Linux on x86-64)
	@PYTHONPATH=tests:src $(BIN)/python -m fuzz $(ARGS)

lint: $(DEV_STAMP) ## ruff, mypy --strict and pyright
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy || status=1; \
	$(BIN)/pyright || status=1; \
	exit $$status

format: $(DEV_STAMP) ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

pictures: $(DEV_STAMP) ## the pictures of docs/detectors, from fixed seeds
	@$(BIN)/python -m benchmarks.pictures $(ARGS)

bench: $(DEV_STAMP) ## the figures of docs/benchmarks.md, as a table
	@$(BIN)/python -m benchmarks $(ARGS)

bench-detection: $(DEV_STAMP) ## who finds which drift when, beside other projects; DATA=FOLDER adds real sets
	@$(BIN)/python -m benchmarks.detection $(if $(DATA),--data $(DATA)) $(ARGS)

soak: $(DEV_STAMP) ## a month of event time in an hour: does anything grow in a worker
	@$(BIN)/python -m benchmarks.soak $(ARGS)

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --custom-compile-command 'make locks' pyproject.toml --group build

locks: $(DEV_STAMP) ## resolve requirements*.lock again, for all supported Pythons
	@$(LOCK) --group dev --output-file requirements-dev.lock
	@$(LOCK) --constraint requirements-dev.lock --output-file requirements.lock

audit: $(DEV_STAMP) ## known vulnerabilities of everything that is pinned; needs the network
	@for lock in requirements.lock requirements-dev.lock; do \
	  $(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement $$lock $(ARGS) || exit 1; \
	done

sbom: $(DEV_STAMP) ## what is inside, as CycloneDX, into dist/driftbus.cdx.json
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --spec-version 1.6 \
	  --output-reproducible --output-file dist/driftbus.cdx.json

licences: $(DEV_STAMP) ## docs/licences.md, from what is installed
	@PYTHONPATH=tests $(BIN)/python -m harness.licences > docs/licences.md

dist: $(DEV_STAMP) ## build wheel and sdist into dist/
	@$(BIN)/python -m build --no-isolation --outdir dist .
	@rm -rf src/driftbus.egg-info

clean: ## remove .venv, caches and build output; downloaded test services in .cache stay
	@rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Each candidate is run, not just looked up: a name on PATH may be a shim for a version that is not there.
$(BIN)/python:
	@for candidate in "$(PYTHON)" python3.13 python3.12 python3.11 python3 python; do \
	  [ -n "$$candidate" ] || continue; \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "setting up $(VENV) with $$("$$candidate" --version), once" >&2; \
	    "$$candidate" -m venv --clear $(VENV); \
	    exit; \
	  fi; \
	done; \
	echo "driftbus needs Python 3.11 or newer with the venv module; found: $$(python3 --version 2>&1)." >&2; \
	echo "Install it (Debian: apt-get install python3 python3-venv; macOS: brew install python), or say where it is:" >&2; \
	echo "  make $(firstword $(MAKECMDGOALS)) PYTHON=/path/to/python3" >&2; \
	exit 1

$(RUN_STAMP): | $(BIN)/python
	@echo "installing the pinned dependencies of driftbus into $(VENV)" >&2
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.run-* $(VENV)/.dev-*
	@$(COMPILE)
	@touch $@

$(DEV_STAMP): | $(BIN)/python
	@echo "installing the pinned dependencies of driftbus and of its tests into $(VENV)" >&2
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.run-* $(VENV)/.dev-*
	@$(COMPILE)
	@touch $@ $(RUN_STAMP)
