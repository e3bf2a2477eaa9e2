# Both targets set everything up by themselves: Python >= 3.11 and a package index are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SUITE  ?= quick

.PHONY: run test check format bench lock clean

run: $(VENV)/.ready
	$(BIN)/python -m universality run --suite $(SUITE)

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -n auto --dist worksteal

check: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist worksteal

format: $(VENV)/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready-dev
	$(BIN)/python benchmarks/loop_overhead.py
	$(BIN)/python benchmarks/watch_overhead.py
	$(BIN)/python benchmarks/engine.py --quick

# What pip takes today for this platform: names and versions alone, whatever index they come from.
lock: | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --dry-run --ignore-installed --report $(VENV)/report.json '.[dev]'
	$(BIN)/python -c 'import json, sys; taken = [each["metadata"] for each in json.load(open(sys.argv[1]))["install"]]; \
	  print("\n".join(sorted("{name}=={version}".format(**each).lower() for each in taken if each["name"] != "universality")))' \
	  $(VENV)/report.json > requirements.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
