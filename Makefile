# All of this project's commands; each makes what it needs in .venv first. `make` alone lists them.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
export PIP_ROOT_USER_ACTION = ignore

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(INSTALLED) ## Fan one model out on a real Airflow, no account needed (KEEP=1, PRECISIONS="FP8 FP4", FAIL=FP4)
	@$(BIN)/python -m local_airflow.demo

.PHONY: test
test: $(INSTALLED) ## All tests: unit, integration, end-to-end
	@$(BIN)/python -m pytest

.PHONY: kills
kills: $(INSTALLED) ## Kill Airflow's processes at random while DAGs deploy: 40 minutes (KILLS=100, MINUTES=40, SEED=…)
	@$(BIN)/python -m local_airflow.kills

.PHONY: lint
lint: $(INSTALLED) ## Style, formatting and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

.PHONY: build
build: $(INSTALLED) ## Wheel and sdist, in dist/
	@$(BIN)/python -m build

.PHONY: clean
clean: ## Remove all that the other commands have made
	rm -rf .venv .demo .kills build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's Python may come without venv; pip can then bring virtualenv, outside of the system's packages.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo '$(PYTHON) is missing or older than 3.10. Name another one: make PYTHON=python3.11 …' >&2; exit 1; }
	@echo 'Installing Airflow and the development tools in .venv …'
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv >/dev/null 2>&1 || { rm -rf .venv && \
		$(PYTHON) -m pip install -q --disable-pip-version-check --target .venv/.virtualenv virtualenv && \
		PYTHONPATH=.venv/.virtualenv $(PYTHON) -m virtualenv -q .venv; } || \
		{ echo 'No virtual environment could be made. On Debian: apt-get install python3-venv' >&2; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e . --group dev --group celery \
		-c constraints.txt
	@touch $@
