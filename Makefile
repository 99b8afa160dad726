# make run: set up and run the demo study.  make test: set up and pass what CI passes.
PYTHON ?= python3
BIN := .venv/bin
# a study starts a dozen processes; where PYTHONDONTWRITEBYTECODE is set, each would compile all of this again
COMPILE := $(BIN)/python -m compileall -q trainer experiments reports orchestrator

.PHONY: run test check clean

run: .venv/run.stamp
	$(COMPILE)
	$(BIN)/ablate run studies/bag_of_tricks.yaml --profile demo

# one process more than two cores: tests with real engines wait for half of their time
test: .venv/dev.stamp check
	$(COMPILE)
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

check: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/run.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/dev.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info
