# hilum. `make demo` and `make test` are all that a fresh machine needs: each sets itself up first.
# They need Python 3.11 to 3.13, git and make; everything else comes by the lock file.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
LOCK := requirements.lock
SOURCES := src tests benchmarks scripts

.PHONY: help demo test lint type imports unit docs bench lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   set up, then run the main job and print where its results are"
	@echo "make test   set up, then run every check: lint, types, imports, tests, docs"
	@echo "make lint type imports unit docs   one check each"
	@echo "make bench  measure speed, side by side with peers (needs HILUM_DATA)"
	@echo "make lock   resolve the dependencies anew into $(LOCK)"

# The environment. uv is fast and honours the lock file's hashes.
$(BIN)/python:
	scripts/make_environment $(PYTHON) $(VENV)

$(VENV)/.plain: $(BIN)/python pyproject.toml $(LOCK)
	$(UV) pip install --quiet --python $(BIN)/python --constraint $(LOCK) --editable .
	touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml $(LOCK)
	$(UV) pip install --quiet --python $(BIN)/python --constraint $(LOCK) --editable '.[train,scale,kaggle,dev]'
	touch $@ $(VENV)/.plain

# The demo needs one thing more than the plain install: the real DICOM radiographs to screen.
$(VENV)/.demo: $(VENV)/.plain
	$(UV) pip install --quiet --python $(BIN)/python --constraint $(LOCK) pydicom-data
	touch $@

demo: $(VENV)/.demo
	$(BIN)/hilum demo

test: lint type imports unit docs

lint: $(VENV)/.dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

type: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

unit: $(VENV)/.dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

docs: $(VENV)/.dev
	$(BIN)/sphinx-build --fail-on-warning --quiet -b html docs docs/_build/html

bench: $(VENV)/.dev
	@test -n "$$HILUM_DATA" || { echo "set HILUM_DATA to the folder of real radiographs"; exit 2; }
	$(BIN)/python benchmarks/decode.py "$$HILUM_DATA/kermany-original"
	$(BIN)/python benchmarks/main_job.py "$$HILUM_DATA/kermany224"

lock: $(BIN)/python
	$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet --upgrade -o $(LOCK)

clean:
	rm -rf $(VENV) build dist docs/_build .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
