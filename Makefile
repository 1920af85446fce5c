# Every target does its own set-up: it makes .venv and installs into it, once, and again when the packaging changes.
# A Python other than the first fitting one: make PYTHON=/usr/bin/python3.12 (after make clean, if .venv exists).

PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
BIN := .venv/bin
# Stamps of what is installed: the program, and the program with what its tests and checks need.
PROGRAM := .venv/installed
TOOLS := .venv/installed-dev
DEPLOYMENT := --server 127.0.0.1 --server 127.0.0.2 --server 127.0.0.3 --agents 6 \
	--algorithm roundrobin --check-interval 5
# Histories that make simulate runs.
SEEDS := 1-200

.PHONY: help run demo test simulate check lint format types layers docs reference clean
.NOTPARALLEL:

help:
	@echo "make run     a cluster on this machine: 3 servers, 6 agents, a live table; ends with Ctrl-C"
	@echo "make demo    the cluster plays its story by itself: balance, failover, failback, another algorithm"
	@echo "make test    every test"
	@echo "make simulate  histories of whole clusters under faults, by seed: make simulate SEEDS=1-1000"
	@echo "make docs    the site of the documentation, into var/docs"
	@echo "make reference  settings, properties and commands of the API as the program has them, into docs"
	@echo "make check   ruff, mypy --strict, import-linter, the documentation, and every test"
	@echo "make clean   remove all that these made: .venv, var and caches"

run: $(PROGRAM)
	@$(BIN)/cloudlb init var/run $(DEPLOYMENT) >/dev/null
	@$(BIN)/cloudlb run var/run

# The demo holds the lock until its end: a second one must not take the folder away from under it.
demo: $(PROGRAM)
	@mkdir -p var
	@exec 9>var/demo.lock; \
	flock --nonblock 9 || { echo "another make demo runs here" >&2; exit 1; }; \
	rm -rf var/demo && $(BIN)/cloudlb init var/demo $(DEPLOYMENT) >/dev/null && exec $(BIN)/cloudlb demo var/demo

test: $(TOOLS)
	$(BIN)/python -m twisted.trial tests

simulate: $(TOOLS)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --processes $$(nproc)

check: lint format types layers docs test

lint: $(TOOLS)
	$(BIN)/ruff check

format: $(TOOLS)
	$(BIN)/ruff format --check

types: $(TOOLS)
	$(BIN)/mypy --strict
	$(BIN)/mypy --strict docs/*.py

layers: $(TOOLS)
	$(BIN)/lint-imports

# Whole every time: what was read before says nothing of its links any more.
docs: $(TOOLS)
	@rm -rf var/docs
	$(BIN)/sphinx-build -W --keep-going -q -E -b html -d var/doctrees docs var/docs
	@! grep -rE '<(script|img|link)[^>]* (src|href)="(https?:)?//' --include='*.html' var/docs  # nothing from elsewhere
	@echo "The site is var/docs/index.html"

reference: $(TOOLS)
	$(BIN)/python docs/reference.py

clean:
	rm -rf .venv var build dist *.egg-info .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	rm -rf _trial_temp* twisted/plugins/dropin.cache
	find agent bench cloudlb tests twisted -name __pycache__ -prune -exec rm -rf {} +

$(PROGRAM): setup.py pyproject.toml | $(BIN)/python
	@echo "Installing cloudlb into .venv: about half a minute, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(TOOLS): setup.py pyproject.toml Makefile | $(BIN)/python
	@echo "Installing cloudlb and what its tests need into .venv: about a minute, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,docs,postgres]'
	@touch $(PROGRAM) $@

$(BIN)/python:
	@for python in $(PYTHONS); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making .venv with $$("$$python" --version)"; \
			"$$python" -m venv --clear .venv && exit; \
			rm -rf .venv; \
			exit 1; \
		fi; \
	done; \
	echo "cloudlb needs Python 3.11 or newer, and none of these is: $(PYTHONS)" >&2; \
	echo "Install one, or name yours: make PYTHON=/path/to/python3.11" >&2; \
	exit 1
