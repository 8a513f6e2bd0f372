# gpt-tf: `make demo` trains and reads a small GPT, `make test` runs every check that CI runs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PYTHONHASHSEED := 0

.PHONY: demo test test-parity test-long lint figures clean

$(BIN)/gpt-tf: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(BIN)/gpt-tf
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(VENV)/.parity: setup.cfg pyproject.toml | $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,parity]'
	touch $@

# The three commands, on reviews that gpt-tf writes itself; everything stays below demo/.
demo: $(BIN)/gpt-tf
	rm -rf demo && mkdir demo
	cd demo && ../$(BIN)/gpt-tf train-tokenizer
	cd demo && ../$(BIN)/gpt-tf train
	cd demo && ../$(BIN)/gpt-tf generate --sampler beam

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n 2 -m 'not long and not parity'

test-parity: $(VENV)/.parity
	$(BIN)/pytest -m 'parity and not long'

test-long: $(VENV)/.test
	$(BIN)/pytest -s -m 'long and not parity'  # -s: the figures of each sweep

# Lists the promised figures whose code has changed since they were measured; measures nothing.
figures:
	$(PYTHON) benchmarks/figures.py

clean:
	rm -rf demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
