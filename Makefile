# `make demo` runs the demo study, `make test` the tests, `make trials` long variants of some; each sets up what it needs first (see
# install.sh).
# TORCH=cuda installs PyTorch for NVIDIA GPUs; VENV, PYTHON and TORCH_INDEX are passed on to install.sh.
SHELL := /bin/bash
VENV ?= .venv
TORCH ?= cpu
export VENV TORCH
BIN := $(VENV)/bin

.PHONY: demo test trials lint types style reference install

demo: install
	$(BIN)/snakemake --profile profiles/default

test:
	@bash install.sh test
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

trials:
	@bash install.sh test
	$(BIN)/python -m pytest -m trial

lint:
	@bash install.sh test
	$(MAKE) --no-print-directory -j 2 types style

types:
	$(BIN)/mypy

style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint

reference: install  # pages made from the settings classes
	$(BIN)/python -m calopipe.config.reference >docs/config.md
	$(BIN)/python -m calopipe.config.json_schema >docs/config.schema.json

install:
	@bash install.sh
