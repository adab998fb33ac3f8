# The commands of this project. Each first installs what it needs into .venv. `make` lists them.

PYTHON ?= python3
# Of `make matrix`: minor versions of Airflow, and "lowest", the lower bounds of all dependencies.
KNOWN := $(patsubst constraints/airflow-%.txt,%,$(sort $(wildcard constraints/airflow-*.txt)))
# Airflows for which PYTHON is too old.
TOO_NEW := $(shell $(PYTHON) -c 'import sys; print("3.4" * (sys.version_info < (3, 11)))' 2>/dev/null)
AIRFLOW ?= $(filter-out $(TOO_NEW),$(KNOWN))
# Of `make e2e`: a minor version of Airflow, and the tests.
E2E_KNOWN := 3.3 3.4
E2E_AIRFLOW := $(if $(filter file,$(origin AIRFLOW)),$(lastword $(E2E_KNOWN)),$(AIRFLOW))
TESTS ?= tests/e2e tests/chaos
# Of `make faults`: number of processes, which wait most of the time.
JOBS ?= 4
BIN := .venv/bin
INSTALLED := .venv/.installed
DOCS_INSTALLED := .venv/.docs
BENCH_INSTALLED := .venv/.bench
MATRIX := .matrix/$(shell $(PYTHON) -c 'import sys; print("python%d.%d" % sys.version_info[:2])' 2>/dev/null)
export PIP_ROOT_USER_ACTION = ignore

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: demo-options $(INSTALLED) ## Deploy a model at several precisions on a local Airflow, no account needed (KEEP=1, PRECISIONS="FP8 FP4", FAIL=FP4, DAG=checkpoint_to_production)
	@$(BIN)/python -m local_airflow.demo

# Before anything is installed, so with any Python.
.PHONY: demo-options
demo-options:
	$(check-python)
	@$(PYTHON) -m local_airflow.options

.PHONY: test
test: $(INSTALLED) ## All tests: unit, integration, end-to-end
	@# One process more than CI has cores, as most tests wait most of their time.
	@$(BIN)/python -m pytest -n 3 -m "not e2e"
	@$(BIN)/python -m pytest -m e2e

.PHONY: faults
faults: $(INSTALLED) ## Every network fault in every request and every way of waiting, as a table: minutes (JOBS=4)
	@FAULTS=all $(BIN)/python -m pytest -q -n $(JOBS) tests/faults

.PHONY: matrix
matrix: known-airflow $(AIRFLOW:%=$(MATRIX)/airflow-%/.installed) ## Unit and integration tests on Airflow 3.0, 3.1, 3.2, 3.3 and 3.4, and with the lowest dependencies (AIRFLOW="3.0 lowest", PYTHON=python3.12)
	@$(PYTHON) tests/matrix.py $(AIRFLOW:%=$(MATRIX)/airflow-%); code=$$?; \
		$(if $(TOO_NEW),echo 'Left out: Airflow $(TOO_NEW). It needs Python 3.11 or later: make matrix PYTHON=python3.11';) exit $$code

.PHONY: e2e
e2e: known-e2e $(E2E_AIRFLOW:%=$(MATRIX)/airflow-%/.e2e) ## End-to-end tests on Airflow 3.4, or on 3.3 (AIRFLOW=3.3, TESTS=tests/e2e/test_loop.py, PYTHON=python3.12)
	@$(MATRIX)/airflow-$(E2E_AIRFLOW)/bin/python -m pytest -m e2e $(TESTS)

.PHONY: known-airflow
known-airflow:
	@$(if $(filter-out $(KNOWN),$(AIRFLOW)),echo 'AIRFLOW=$(AIRFLOW): there are $(KNOWN)' >&2; exit 1,:)
	@$(if $(filter $(TOO_NEW),$(AIRFLOW)),echo 'Airflow $(TOO_NEW) needs Python 3.11 or later. Use another one: make PYTHON=python3.11 …' >&2; exit 1,:)

.PHONY: known-e2e
known-e2e:
	@$(if $(findstring _$(E2E_AIRFLOW)_,$(E2E_KNOWN:%=_%_)),:,echo 'AIRFLOW=$(AIRFLOW): the end-to-end tests run on one of $(E2E_KNOWN)' >&2; exit 1)
	@$(if $(filter $(TOO_NEW),$(E2E_AIRFLOW)),echo 'Airflow $(TOO_NEW) needs Python 3.11 or later. Use another one: make PYTHON=python3.11 …' >&2; exit 1,:)

.PHONY: chaos
chaos: $(INSTALLED) ## Kill and freeze Airflow's processes at random while DAGs deploy: 40 minutes (KILLS=70, FREEZES=30, MINUTES=40, SEED=…)
	@$(BIN)/python -m tests.chaos.run

.PHONY: e2e-celery
e2e-celery: $(INSTALLED) ## Kill Celery workers and a triggerer while a DAG creates 6 deployments: 2 minutes
	@$(BIN)/python -m pytest -s tests/e2e/test_celery.py

.PHONY: bench
bench: $(BENCH_INSTALLED) ## What waiting in the triggerer costs, compared with simpler ways to poll, as a table: 5 minutes
	@$(BIN)/python benchmarks/triggers.py

.PHONY: lint
lint: $(INSTALLED) ## Style, formatting and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

.PHONY: docs
docs: $(DOCS_INSTALLED) ## Documentation site, in site/index.html; a broken link or reference fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.PHONY: serve-docs
serve-docs: $(DOCS_INSTALLED) ## The site at http://127.0.0.1:8000, built again after each change
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

.PHONY: build
build: $(INSTALLED) ## Wheel and sdist, in dist/, and whether PyPI would accept their metadata and show the README
	@rm -rf dist
	@$(BIN)/python -m build
	@$(BIN)/python -m twine check --strict dist/*

.PHONY: clean
clean: ## Remove everything that the other commands created
	rm -rf .venv .matrix .demo .chaos build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define check-python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo '$(PYTHON) is missing or older than 3.10. Use another one: make PYTHON=python3.11 …' >&2; exit 1; }
endef

# Debian's Python may lack venv. Then pip installs virtualenv, outside of the system's packages.
define install # directory, dependency group, constraints
	$(check-python)
	@echo 'Installing Airflow and the development tools in $(1) …'
	@test -x $(1)/bin/pip || $(PYTHON) -m venv $(1) >/dev/null 2>&1 || { rm -rf $(1) && \
		$(PYTHON) -m pip install -q --disable-pip-version-check --target $(1)/.virtualenv virtualenv && \
		PYTHONPATH=$(1)/.virtualenv $(PYTHON) -m virtualenv -q $(1); } || \
		{ echo 'Cannot create a virtual environment. On Debian: apt-get install python3-venv' >&2; exit 1; }
	@$(1)/bin/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(1)/bin/python -m pip install -q --disable-pip-version-check -e . --group $(2) -c $(3)
	@touch $(1)/.installed
endef

$(INSTALLED): pyproject.toml constraints/airflow-3.3.txt
	$(call install,.venv,dev,constraints/airflow-3.3.txt)

$(DOCS_INSTALLED): $(INSTALLED)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group docs -c constraints/airflow-3.3.txt
	@touch $@

$(BENCH_INSTALLED): $(INSTALLED)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group bench -c constraints/airflow-3.3.txt
	@touch $@

$(MATRIX)/airflow-%/.installed: pyproject.toml constraints/airflow-%.txt
	$(call install,$(@D),test,constraints/airflow-$*.txt)

$(MATRIX)/airflow-%/.e2e: $(MATRIX)/airflow-%/.installed
	@$(@D)/bin/python -m pip install -q --disable-pip-version-check --group e2e -c constraints/airflow-$*.txt
	@touch $@
