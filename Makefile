# `make demo` and `make test` need Python 3.11.4 or later with pip, and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
LIGHT := runs/light

.PHONY: demo test light package check docs pictures sizes clean

demo: $(VENV)/.lab
	@rm -rf $(DEMO)
	$(BIN)/siglum train mnist5k --out $(DEMO)
	@$(BIN)/siglum evaluate $(DEMO)
	@$(BIN)/siglum report $(DEMO)

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

light: $(VENV)/.lab
	@rm -rf $(LIGHT)
	$(PYTHON) -m venv $(LIGHT)/venv
	$(LIGHT)/venv/bin/python -m pip install --quiet .
	$(BIN)/siglum train mnist5k --epochs 1 --out $(LIGHT)/run
	$(BIN)/siglum export $(LIGHT)/run --out $(LIGHT)/digits.siglum
	$(BIN)/python tests/draw_seven.py $(LIGHT)/seven.png
	$(LIGHT)/venv/bin/siglum info $(LIGHT)/digits.siglum
	$(LIGHT)/venv/bin/siglum predict $(LIGHT)/digits.siglum $(LIGHT)/seven.png --json | grep '"label": "7"'
	$(LIGHT)/venv/bin/siglum teach --chars '0123456789' --out $(LIGHT)/fonts.siglum
	$(LIGHT)/venv/bin/siglum predict $(LIGHT)/fonts.siglum $(LIGHT)/seven.png --json | grep '"label": "7"'
	$(LIGHT)/venv/bin/python -c 'import importlib.util as u; assert u.find_spec("torch") is None'

package: $(VENV)/.dev
	@rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/pyroma --min 10 dist/*.tar.gz

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build
	@echo "Open docs/_build/index.html"

pictures: $(VENV)/.dev
	$(BIN)/python docs/generate.py

sizes:
	@$(PYTHON) tests/test_style.py

clean:
	rm -rf $(VENV) $(DEMO) $(LIGHT) docs/_build

$(VENV)/.lab: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[lab]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.lab

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' || \
		{ echo "Python must be 3.11.4 or later, got $$($(PYTHON) --version). Set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
