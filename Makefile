# What a developer does here, one effect each. `make help` prints the list.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PIP_ARGS ?=
DOCUMENTS ?=
NAME ?=
WORKERS ?= 2
export PATH := $(CURDIR)/$(BIN):$(PATH)

SOURCES := sap_llm sap_llm_dagster sensors jobs assets resources spark_jobs benchmarks tools tests
# deepspeed's build imports torch, so it is installed after all the others
FIRST := $(VENV)/requirements-first.txt

LABEL_STUDIO := .venv-label-studio
LABEL_STUDIO_PORT ?= 8080

.PHONY: help setup java demo dev label-studio check fix test test-slow bench wheel requirements clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed java ## virtual environment, pinned packages, Java (done once)

$(BIN)/uv:
	@[ -x $(BIN)/python ] || "$$(tools/ensure.sh python)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/uv
	@echo "Installing the packages of requirements.txt into $(VENV) (about 7 GB with torch's CUDA packages on Linux)"
	@awk '/^[^ ]/ {skip = /^deepspeed==/} !skip' requirements.txt > $(FIRST)
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --compile-bytecode --require-hashes -r $(FIRST) $(PIP_ARGS)
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --compile-bytecode --require-hashes -r requirements.txt $(PIP_ARGS)
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --no-deps --editable . $(PIP_ARGS)
	@touch $@

java:
	@tools/ensure.sh java

demo: setup ## the whole lineage on the tiny profile, DOCUMENTS=<folder> adds real documents; prints a table at the end
	$(BIN)/python -m sap_llm_dagster.demo --profile tiny $(if $(DOCUMENTS),--documents "$(DOCUMENTS)")

dev: setup ## the Dagster UI over the same instance and data
	DAGSTER_HOME=$$($(BIN)/python -m sap_llm_dagster.home) exec $(BIN)/dg dev

$(LABEL_STUDIO)/.installed: deploy/label-studio/requirements.txt | $(BIN)/uv
	@echo "Installing Label Studio into an environment of its own (about 0.8 GB; its pins contradict ours)"
	@"$$(tools/ensure.sh python)" -m venv $(LABEL_STUDIO)
	VIRTUAL_ENV=$(LABEL_STUDIO) $(BIN)/uv pip install --require-hashes -r $< $(PIP_ARGS)
	@touch $@

label-studio: $(LABEL_STUDIO)/.installed ## the annotation server on 127.0.0.1:8080 (LABEL_STUDIO_PORT=...), data in data/label-studio
	@exec deploy/label-studio/start.sh data/label-studio $(LABEL_STUDIO_PORT)

check: setup ## style, types, import contract, lengths, superseded names, definitions load
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_tree.py
	$(BIN)/dg check defs

fix: setup ## let ruff mend what it can
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

test: setup ## fast tests, no server, seconds profile (15 minutes at most on 2 cores)
	SAP_LLM_PROFILE=seconds OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadscope

test-slow: setup ## kill tests, real servers, Spark cluster, DeepSpeed, browser, tiny end to end
	@tools/ensure.sh servers
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 0

wheel: $(BIN)/uv ## dist/: the wheel, and the same under the name of a zip file, which Spark imports
	$(BIN)/uv build --quiet --wheel --out-dir dist
	for file in dist/*.whl; do cp "$$file" "$${file%.whl}.zip"; done

bench: setup ## benchmarks, NAME=synthetic for one; writes benchmarks/results/ and RESULTS.md
	$(BIN)/python -m benchmarks $(NAME)

requirements: setup ## resolve requirements.txt anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml -c tools/constraints.txt --all-extras --group dev --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements.txt
	$(BIN)/uv pip compile deploy/label-studio/requirements.in --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -o deploy/label-studio/requirements.txt

clean: ## remove the virtual environment's stamps and caches (data/ stays)
	rm -rf $(VENV)/.installed .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
