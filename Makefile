# Two commands do everything: `make demo` and `make test`. Both make a virtual environment in .venv first, if there is none.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check clean

demo: .venv/.installed
	$(BIN)/onnuri run configs/sample.yaml

test: .venv/.installed check
	$(BIN)/python -m pytest

check: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Onnuri needs Python 3.11 or newer; run: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
