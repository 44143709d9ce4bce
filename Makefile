# `make demo` and `make test` set up all they need. A stamp file makes the set-up run again when what it installs
# has changed, and only then.
PYTHON ?= python3
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
# The language of the sample that the demo runs on: sw or hi.
SAMPLE ?= sw
# Also pins the build environments that pip makes (the package itself, and eflomal).
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# On cores that others use too, OpenMP's threads waste most of their time waiting for each other actively.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0
# The whole suite is shared by so many processes; one of them has all that needs Label Studio.
WORKERS ?= 2
SHARED := -n $(WORKERS) --dist loadgroup

.PHONY: help setup setup-test demo demo-ui test unit soak coverage lint types format constraints docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.runs .venv-studio/.runs ## Install the package and a Label Studio beside it: all the demo needs

setup-test: .venv/.tests .venv-studio/.runs ## Install everything: models, test tools, Label Studio

demo: setup ## The whole loop against a real Label Studio, reviewed by a script (SAMPLE=hi: in Hindi)
	@exec $(BIN)/python -m demo --sample $(SAMPLE)

demo-ui: setup ## The same up to the push; then it is your turn, in the browser
	@exec $(BIN)/python -m demo --review-in-browser --sample $(SAMPLE)

test: setup-test ## The whole suite
	@exec $(BIN)/python -m pytest $(SHARED) $(ARGS)

soak: setup-test ## The long form of the tests that repeat something until it might fail (SOAK=25 times the rounds)
	@exec env XNER_LABEL_SOAK=$(or $(SOAK),25) $(BIN)/python -m pytest -m soak --timeout 7200 $(ARGS)

coverage: setup-test ## The whole suite with branch coverage, child processes included, and the floor it must reach
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(SHARED) $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --skip-covered --sort=cover

unit: .venv/.tests ## The quick tests alone
	@exec $(BIN)/python -m pytest tests/unit $(ARGS)

lint: .venv/.tests ## Style of the code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/.tests ## Types of the code
	$(BIN)/mypy

format: .venv/.tests ## Put the code into its style
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

constraints: .venv/.made ## Resolve the dependencies anew and write the pins (ARGS=--upgrade for the newest)
	env -u PIP_CONSTRAINT $(BIN)/python tools/constraints.py $(ARGS)

docs: .venv/.runs ## Write the parts of the documentation that are generated
	$(BIN)/python -m tools.settings_page
	$(BIN)/python -m tools.commands_page

clean: ## Remove what these targets made
	rm -rf .coverage .coverage.* .venv .venv-studio .demo .cache build dist test-artifacts .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv \
	  || { echo "Python's venv module is needed (on Debian: apt install python3-venv)"; exit 1; }
	@touch $@

.venv/.runs: .venv/.made constraints.txt pyproject.toml
	@echo "Installing XNER-Label into .venv"
	@$(BIN)/python -m pip install --quiet --editable '.[studio,backend]'
	@if ! $(BIN)/python -m pip install --quiet --editable '.[eflomal]' >.venv/eflomal.log 2>&1; then \
	  echo "The aligner eflomal could not be installed (it needs a C compiler; see .venv/eflomal.log):"; \
	  echo "XNER-Label goes on without it and projects by string similarity."; fi
	@touch $@

.venv/.tests: .venv/.runs
	@echo "Installing the models' libraries and the test tools into .venv"
	@$(BIN)/python -m pip install --quiet torch==2.13.0
	@$(BIN)/python -m pip install --quiet --editable '.[studio,backend,models,eflomal,lora,spacy,gliner,llm,segmentation,postgres,bulk,ray,report,otel,dev]'
	@touch $@

.venv-studio/.runs: constraints-studio.txt
	@echo "Installing Label Studio into .venv-studio (two minutes)"
	@$(PYTHON) -m venv --clear .venv-studio
	@PIP_CONSTRAINT=constraints-studio.txt .venv-studio/bin/python -m pip install --quiet label-studio==1.23.2
	@touch $@
