# `make demo` and `make test` need only Python 3.11 to 3.13, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check slow-test browser-test docs clean

demo: $(VENV)/demo.installed  ## detection and segmentation on sample photos, without PyTorch; results in runs/demo
	$(BIN)/blitznet demo

test: $(VENV)/dev.installed  ## the fast suite, a process per core; then the wheel in a fresh environment
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto
	$(BIN)/python -m pytest -m install

slow-test: $(VENV)/dev.installed  ## the slow suite; set BLITZNET_DATA=path/to/VOCdevkit for the part on real data
	$(BIN)/python -m pytest -m "slow or data"

browser-test: $(VENV)/dev.installed  ## the web page in Chromium, which Debian's packages provide
	$(INSTALL) --editable ".[browser]"
	command -v chromedriver >/dev/null || apt-get install --yes --quiet chromium chromium-driver || true
	$(BIN)/python -m pytest -m browser -rs tests/browser

check: $(VENV)/dev.installed  ## formatter, linter, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/docs.installed  ## the site, in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist src/*.egg-info

$(VENV)/%.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable ".[$*]"
	touch $@
