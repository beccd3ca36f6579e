# Nothing to install first: Debian 12's Python 3.11, git and make will do. See scripts/setup.sh for VENV, PYTHON, TORCH, NEED_MB.
VENV ?= .venv
RECIPE ?= recipes/eva-tiny.toml
# Test processes at a time, one thread each.
JOBS ?= 2

export VENV PYTHON TORCH NEED_MB

python := $(VENV)/bin/python
pytest := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 $(python) -m pytest

.PHONY: help setup setup-dev play coq test check slow format clean

help:
	@echo "make play     set up, then play $(RECIPE)"
	@echo "make coq      set up, then build the faster backend of Coq (needs libcoq-core-ocaml-dev)"
	@echo "make test     set up, then check everything: formatting, lint, types, tests"
	@echo "make check    the same (make test is the name that the README uses)"
	@echo "make slow     the long tests"
	@echo "make format   put the code in shape: ruff format, ruff check --fix"
	@echo "make clean    remove caches and build products; runs/ and $(VENV) stay"

setup:
	@scripts/setup.sh run

setup-dev:
	@scripts/setup.sh dev

play: setup
	$(VENV)/bin/sparring play $(RECIPE)

coq: setup
	$(python) -m sparring.envs.coq_snapshots

test: check

check: setup-dev
	$(python) -m ruff format --check .
	$(python) -m ruff check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(python) -m pyright --pythonpath $(python)
	$(pytest) -n $(JOBS)

slow: setup-dev
	$(pytest) -m slow

format: setup-dev
	$(python) -m ruff format .
	$(python) -m ruff check --fix .

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find sparring tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
