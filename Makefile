# make book   build the book from the simulated survey       make test   everything CI checks
#   DATASET=simulated | galaxy10 | a Galaxy10-like .h5 file | a folder with one sub-folder of images per class
#   PROFILE=smoke | demo | full
DATASET ?= simulated
PROFILE ?= demo
PYTHON ?= python3

BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help book test lint lock check-python check-settings clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

check-python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 …"; exit 1; }

# Before anything is installed or rendered: a mistyped value costs a second, not ten minutes.
check-settings: | check-python
	@$(PYTHON) book/build.py --check --dataset '$(DATASET)' --profile '$(PROFILE)'

$(INSTALLED): requirements.lock pyproject.toml | check-python
	@echo "Installing exact versions into .venv (once, a few minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(INSTALLED)

book: check-settings
	@$(MAKE) --no-print-directory $(INSTALLED)
	@$(BIN)/python book/build.py --dataset '$(DATASET)' --profile '$(PROFILE)'

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: $(INSTALLED) lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lock:  # maintainers: needs uv
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --upgrade --custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf _build .pytest_cache .ruff_cache
