# make help      this text (also plain `make`)
# make book      build the book into _build/html; runs again only what changed
# make test      everything CI checks: lint, then all tests; of faults and pages a sample
# make plan      how many minutes each chapter of a long profile would take here: make plan PROFILE=gpu
# make scores    take the scores of a finished build into the book's score page
# make card      a model card and a data card of a finished build, from its reports, into _build/cards; nothing is uploaded
# make lint      formatting and static checks alone
# make install   only make .venv, with exact versions of everything (the targets above do it when needed)
# make assignments   students' notebooks, autograder bundles and solutions into _build/assignments
# make grade     grade a folder of submissions of one assignment into one table; again only what changed
# make class     measure how long sixty submissions take to grade
# make faults    kill, fill, damage, lie and crowd: the whole table of faults, into tests/faults/README.md (an hour or more)
# make planted   plant faults in the package, one at a time, and say which the tests catch; then train on JAX (a quarter of an hour)
# make licences  list the licences of all locked packages in book/licences.csv
# make audit     ask the public list of known vulnerabilities about all locked packages (needs the network)
# make stick     the book, all packages and the survey into a folder, for machines without a network
# make colab     rehearse Colab: each chapter in a bare environment, from its set-up cell on, in the smoke profile
# make links     ask every web address that the book names whether it still answers; builds the book first
# make pages     check every page of a finished build in a browser, in four widths and both themes, into tests/browser/README.md
# make screenshots   pictures of every page of a finished build, at three widths and in both themes, to look at
# make address   after a change of the repository's address in pyproject.toml: badges, set-up cells and links follow
# make lock      pin new versions after a change of the requirements (maintainers)
# make clean     delete what builds and tests made; keeps .venv and the cache of galaxies
#
# What to build from, after `make book`; the defaults come first:
#   DATASET=simulated | galaxy10 | a Galaxy10-like .h5 file | a folder with one sub-folder of images per class
#   PROFILE=demo | smoke (a quick check that everything runs) | gpu (Colab) | full (the papers' size, for a GPU)
#   SEED=1 | any whole number: another survey, another split, other first weights
#   JOBS= | 1 | 2 | … how many chapters are run at once; two, or one in the profiles gpu and full, if not told
#   GALAXY_UTILS_WEIGHTS= | imagenet | none | a file: pretrained weights for chapters 7 and 11; if not told, those that
#                           are here, else one try to download them; imagenet insists
# For `make card`, beside DATASET, PROFILE and SEED as they were for `make book`:
#   CLASSIFIER= | galaxies.keras | … a file of gu.save_classifier, whose hash, crop and calibration go into the card
#   REPORT= | 03_a_baseline_cnn/average_pooling | … the network the card is of, by the end of its report's path; if not
#             told, the one with the highest validation accuracy
# For `make colab`:
#   CHAPTERS= | 02_ | … only chapters whose names begin so
#   COLAB_PYTHON= | /usr/bin/python3 | … a Python to rehearse on, such as that of Colab's image
# What to assign and grade, for `make assignments` and `make grade`:
#   MASTERS=notebooks/assignments | a private folder with masters of your own
#   ASSIGNMENT=all | a1 | a2 | … one of them; `make grade` needs one
#   SUBMISSIONS=submissions | the folder of notebooks that were handed in
#   JOBS= | 1 | 2 | … how many submissions are graded at once; one, if not told
# For `make stick`:
#   STICK=_build/stick | /media/usb | … where it goes
# For all targets:
#   TENSORFLOW= | 2.18 | newest | … instead of the locked versions, in an environment of its own
#   PYTHON=python3 | python3.12 | …   the Python, 3.11 to 3.13, that .venv is made from

DATASET ?= simulated
PROFILE ?= demo
SEED ?= 1
CLASSIFIER ?=
REPORT ?=
CHAPTERS ?=
COLAB_PYTHON ?=
TENSORFLOW ?=
MASTERS ?= notebooks/assignments
ASSIGNMENT ?= all
SUBMISSIONS ?= submissions
JOBS ?=
STICK ?= _build/stick
PYTHON ?= python3

# What people write on the command line reaches programs through the environment and nowhere else: whatever stands in a
# path, neither make nor a shell reads it as anything but text.
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
SETTINGS := DATASET PROFILE SEED CLASSIFIER REPORT CHAPTERS COLAB_PYTHON TENSORFLOW MASTERS ASSIGNMENT SUBMISSIONS JOBS
SETTINGS += STICK PYTHON
define as_text
override $(1) := $$(value $(1))
endef
$(foreach name,$(SETTINGS),$(eval $(call as_text,$(name))))
export GIVEN $(SETTINGS)

# Nor do a user's own settings change what is built: another program's packages, warnings as errors, a start-up file;
# nor how long it takes: without compiled modules, every process reads TensorFlow's source again.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONOPTIMIZE PYTHONWARNINGS PYTHONINSPECT PYTHONPLATLIBDIR PYTHONSAFEPATH
unexport PYTHONDONTWRITEBYTECODE
export PYTHONNOUSERSITE := 1
export PYTHONUTF8 := 1

# A version, or "newest": it becomes part of the name of a folder.
without = $(subst $(firstword $(1)),,$(if $(word 2,$(1)),$(call without,$(wordlist 2,99,$(1)),$(2)),$(2)))
ifneq ($(filter-out newest,$(call without,0 1 2 3 4 5 6 7 8 9 .,$(TENSORFLOW))),)
$(error TENSORFLOW is a version, such as 2.18, or "newest")
endif

ENVIRONMENT := .venv$(if $(TENSORFLOW),-tensorflow-$(TENSORFLOW))
BIN := $(ENVIRONMENT)/bin
INSTALLED := $(ENVIRONMENT)/installed
EXTRAS := assignments book catalogue chapters install test
COMMA := ,
EMPTY :=
LOCKED := $(shell sed -n 's/^tensorflow==\([0-9.]*\).*/\1/p' requirements.lock)
# Without a floor, "newest" would be an older one: some releases ask for less than the newest of other packages.
WANTED := tensorflow$(if $(filter newest,$(TENSORFLOW)),>=$(LOCKED),==$(TENSORFLOW).*)
PIP := $(BIN)/python book/tools/run_pip.py

.PHONY: help book plan scores card test lint install colab links pages screenshots address lock assignments grade class stick faults planted licences audit clean check-python check-settings

help:
	@sed -n '/^$$/q;s/^# \{0,1\}//p' Makefile

check-python:
	@"$$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; '$$PYTHON' is $$("$$PYTHON" --version 2>&1). Try: make PYTHON=python3.12 …"; exit 1; }
ifneq ($(filter PYTHON,$(GIVEN)),)
	@[ ! -x $(BIN)/python ] || "$$PYTHON" -c "import sys; sys.exit(sys.version_info[:2] != $$($(BIN)/python -c 'import sys; print(sys.version_info[:2])'))" || \
	  { echo "$(ENVIRONMENT) is there already, with $$($(BIN)/python --version 2>&1). Delete it to have another Python: rm -rf $(ENVIRONMENT)"; exit 1; }
endif

# Before anything is installed or rendered: a mistyped value costs a second, not ten minutes.
check-settings: | check-python
	@"$$PYTHON" book/tools/build.py --check --given="$$GIVEN" \
	  --dataset="$$DATASET" --profile="$$PROFILE" --seed="$$SEED" --jobs="$$JOBS"

# Several `make` at once on a fresh clone: one installs, the others wait and then find it done.
install: | check-python
	@"$$PYTHON" book/tools/take_turns.py $(ENVIRONMENT)/lock $(MAKE) --no-print-directory --silent $(INSTALLED)

# The lock names every package, so nothing is looked for.
$(INSTALLED): requirements.lock pyproject.toml
	@echo "Installing $(if $(TENSORFLOW),TensorFlow $(TENSORFLOW) and what fits it,exact versions) into $(ENVIRONMENT) (once, a minute or a few)"
	@"$$PYTHON" -m venv $(ENVIRONMENT)
ifeq ($(TENSORFLOW),)
	@$(BIN)/python book/tools/install_lock.py
else
	@$(PIP) install "setuptools>=77" "$(WANTED)" --editable ".[$(subst $(EMPTY) $(EMPTY),$(COMMA),$(EXTRAS))]"
endif
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(INSTALLED)

book: check-settings
	@$(MAKE) --no-print-directory install
	@$(BIN)/python book/tools/build.py --dataset="$$DATASET" --profile="$$PROFILE" --seed="$$SEED" --jobs="$$JOBS"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

scores: check-settings
	@$(MAKE) --no-print-directory install
	@$(BIN)/python book/tools/scores.py --dataset="$$DATASET" --profile="$$PROFILE" --seed="$$SEED"

card: check-settings
	@$(MAKE) --no-print-directory install
	@$(BIN)/python book/tools/card.py --dataset="$$DATASET" --profile="$$PROFILE" --seed="$$SEED" \
	  --classifier="$$CLASSIFIER" --report="$$REPORT"

plan: check-settings
	@$(MAKE) --no-print-directory install
	@$(BIN)/python book/tools/plan.py --dataset="$$DATASET" --profile="$$PROFILE" --seed="$$SEED"

# In the order of tests/conftest.py: while one worker builds the book, the others run what does not read it. Three workers for
# two cores, because each often waits for a process that it has started.
test: lint
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

colab: install
	@$(BIN)/python book/tools/colab.py --chapters="$$CHAPTERS" --python="$$COLAB_PYTHON"

links: check-settings
	@$(MAKE) --no-print-directory install
	@$(BIN)/python book/tools/build.py --links --dataset="$$DATASET" --profile="$$PROFILE" --seed="$$SEED"

# Of a book that is there already: it is read, not built again.
pages: install
	@GALAXY_UTILS_BOOK=_build/html PAGES=all $(BIN)/python -m pytest -q -p no:xdist tests/browser/test_reading.py; \
	  status=$$?; sed -n '/^<!-- table/,$$p' tests/browser/README.md; exit $$status

screenshots: install
	@$(BIN)/python book/tools/screenshots.py

address: | check-python
	@"$$PYTHON" book/tools/address.py

lock: install  # maintainers
	$(BIN)/uv pip compile pyproject.toml $(EXTRAS:%=--extra %) --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --upgrade --custom-compile-command "make lock" --output-file requirements.lock

assignments: install
	@$(BIN)/python notebooks/assignments/tools/make.py --masters="$$MASTERS" --only="$$ASSIGNMENT"

grade: install
	@$(BIN)/python notebooks/assignments/tools/grade.py --masters="$$MASTERS" --assignment="$$ASSIGNMENT" \
	  --submissions="$$SUBMISSIONS" --jobs="$${JOBS:-1}"

class: install
	@$(BIN)/python notebooks/assignments/tools/grading_speed.py --jobs="$${JOBS:-1}"

stick: install
	@sh book/tools/stick.sh "$$STICK" $(BIN)/python

faults: install
	@rm -rf _build/faults
	@FAULTS=all $(BIN)/python -m pytest -p no:xdist tests/faults; status=$$?; \
	  $(BIN)/python tests/faults/table.py && exit $$status

planted: install
	@$(BIN)/python tests/planted.py
	@$(PIP) install --no-build-isolation --editable ".[backends]"
	@BACKENDS=all $(BIN)/python -m pytest -q tests/test_on_jax.py

licences: install
	@$(BIN)/python book/tools/licences.py

# In an environment of its own: what audits the packages is none of them.
# Strictly: a package that the list does not know, because the list is not reachable, is an error and no clean bill.
audit: | check-python
	@"$$PYTHON" -m venv .venv-audit
	@.venv-audit/bin/python book/tools/run_pip.py install pip-audit
	@.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

clean:
	rm -rf _build .pytest_cache .ruff_cache
