# make help      this text (also plain `make`)
# make book      build the book into _build/html; runs again only what changed
# make test      everything CI checks: lint, then all tests
# make scores    take the scores of a finished build into the book's score page
# make lint      formatting and static checks alone
# make install   only make .venv, with exact versions of everything (the targets above do it when needed)
# make lock      pin new versions after a change of the requirements (maintainers; needs uv)
# make clean     delete what builds and tests made; keeps .venv and the cache of galaxies
#
# What to build from, after `make book`; the defaults come first:
#   DATASET=simulated | galaxy10 | a Galaxy10-like .h5 file | a folder with one sub-folder of images per class
#   PROFILE=demo | smoke (a quick check that everything runs) | full (the papers' size, for a GPU)
#   SEED=1 | any whole number: another survey, another split, other first weights
# For all targets:
#   PYTHON=python3 | python3.12 | …   the Python, 3.11 to 3.13, that .venv is made from

DATASET ?= simulated
PROFILE ?= demo
SEED ?= 1
PYTHON ?= python3

BIN := .venv/bin
INSTALLED := .venv/installed

# Names of the variables on the command line, to find misspelt ones.
GIVEN = $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))

.PHONY: help book scores test lint install lock clean check-python check-settings

help:
	@sed -n '/^$$/q;s/^# \{0,1\}//p' Makefile

check-python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 …"; exit 1; }

# Before anything is installed or rendered: a mistyped value costs a second, not ten minutes.
check-settings: | check-python
	@$(PYTHON) book/build.py --check --given '$(strip $(GIVEN))' \
	  --dataset '$(DATASET)' --profile '$(PROFILE)' --seed '$(SEED)'

# Several `make` at once on a fresh clone: one installs, the others wait and then find it done.
install: | check-python
	@$(PYTHON) book/take_turns.py .venv/lock $(MAKE) --no-print-directory --silent $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	@echo "Installing exact versions into .venv (once, a few minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(INSTALLED)

book: check-settings
	@$(MAKE) --no-print-directory install
	@$(BIN)/python book/build.py --dataset '$(DATASET)' --profile '$(PROFILE)' --seed '$(SEED)'

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

scores: check-settings
	@$(MAKE) --no-print-directory install
	@$(BIN)/python book/scores.py --dataset '$(DATASET)' --profile '$(PROFILE)' --seed '$(SEED)'

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lock:  # maintainers: needs uv
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --upgrade --custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf _build .pytest_cache .ruff_cache
