# Two commands: `make leaderboard` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
PYTHON ?= python3
SUITE ?= default
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SUITE_FILE = workflows/config/$(SUITE).yaml
OPTIONS = --cores $(CORES) --configfile $(SUITE_FILE)
# An activated environment for every program below, without asking the user to activate one.
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONSAFEPATH  # the programs are modules of this folder
# A container may set none, and Snakemake does not start without.
export HOME ?= /tmp

# What `make plan` and `make status` lay over a suite: keys and values as for `snakemake --config`, without spaces inside.
CONFIG =

# Two workers, each with the fixtures of whole files; one that crashes ends the tests.
WORKERS = -n 2 --dist loadfile --max-worker-restart 0

# What `make lock` resolves with; files that name no index serve everybody.
COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet

# What `make benchmark` times AutoAttack on: a run's folder or its id.
RUN ?=

.PHONY: help leaderboard story test test-slurm coverage check format plan status benchmark report readme docs new-method check-method new-attack check-attack new-diagnostic check-diagnostic lock schema clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

leaderboard: $(READY) $(SUITE_FILE)  ## train, attack, cost and rank: the whole default suite, no download, no GPU
	@$(BIN)/snakemake $(OPTIONS)

# Two lines, because `make -n` runs the one that names make.
story:  ## what catastrophic overfitting is: 15 runs on MNIST, and results/story.html
	@$(MAKE) --no-print-directory leaderboard SUITE=story
	@$(BIN)/python -m bench story

test: $(READY)  ## run all unmarked tests
	$(BIN)/python -m pytest $(WORKERS) --durations 20

test-slurm: $(READY)  ## run the suite on a SLURM cluster of this machine's own: needs root and Debian's packages
	$(BIN)/python -m pytest -m slurm tests/test_slurm.py --durations 0

coverage: $(READY)  ## run the same tests, slower, and say which lines they miss
	$(BIN)/python -m pytest $(WORKERS) --cov --cov-report term-missing:skip-covered

check: $(READY)  ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/oxlint --deny-warnings --allow no-unused-vars report/templates  # a script's names are used in another
	$(BIN)/snakefmt --check Snakefile workflows
	$(BIN)/mypy

format: $(READY)  ## bring all files into the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile workflows

plan: $(READY) $(SUITE_FILE)  ## what would run: make plan SUITE=cifar10 CONFIG='seeds=[0]'
	@$(BIN)/python -m bench plan --suite $(SUITE_FILE) --config $(CONFIG)

status: $(READY) $(SUITE_FILE)  ## what is done, runs, failed and waits: make status SUITE=cifar10
	@$(BIN)/python -m bench status --suite $(SUITE_FILE) --config $(CONFIG)

benchmark: $(READY)  ## how fast training and AutoAttack are here: make benchmark RUN=b8dc16d7dc55
	$(BIN)/python -m bench benchmark --threads $$(nproc) $(if $(RUN),--attack-run $(RUN)) \
		--out results/published/benchmarks/$$(date +%Y-%m-%d-%H%M).json

report: $(READY) $(SUITE_FILE)  ## render the page from whatever has finished
	@$(BIN)/snakemake report $(OPTIONS)

readme: $(READY)  ## write what is made of published records and suites into README.md, docs/tables.md, docs/costs.md and results/README.md
	$(BIN)/python -m bench report --readme README.md
	$(BIN)/python -m bench records --readme results/README.md
	$(BIN)/python -m bench plan --suite paper --readme docs/costs.md

docs: $(READY)  ## write docs/methods.md, docs/attacks.md and docs/shapes.md from the code and the records
	$(BIN)/python -m bench docs

new-method: $(READY)  ## start a method: make new-method NAME=my_method
	$(BIN)/python -m bench method new $(NAME)

check-method: $(READY)  ## try a method against the laws, in seconds: make check-method NAME=my_method
	$(BIN)/python -m bench method check $(NAME)

new-attack: $(READY)  ## start an attack, with its test: make new-attack NAME=my_attack
	$(BIN)/python -m bench method new $(NAME) --kind attack

check-attack: $(READY)  ## try an attack against the laws, in seconds: make check-attack NAME=my_attack
	$(BIN)/python -m bench method check $(NAME) --kind attack

new-diagnostic: $(READY)  ## start a diagnostic, with its test: make new-diagnostic NAME=my_diagnostic
	$(BIN)/python -m bench method new $(NAME) --kind diagnostic

check-diagnostic: $(READY)  ## try a diagnostic against the laws: make check-diagnostic NAME=my_diagnostic
	$(BIN)/python -m bench method check $(NAME) --kind diagnostic

lock: $(READY)  ## resolve requirements/*.in again
	$(COMPILE) requirements/lock.in -o requirements/lock.txt
	$(COMPILE) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) --no-deps requirements/data.in -o requirements/data.txt

schema: $(READY)  ## write the schemas of suites and records from their types
	$(BIN)/python -m bench schema

clean:  ## remove the environment and the working results; published records stay
	rm -rf $(VENV) .snakemake .counts.json results/runs results/logs results/stale results/figures results/tables results/leaderboard.* results/records.* results/library.* results/story.html results/paper_report.* results/plan.json

workflows/config/%.yaml:
	@echo "there is no suite '$*'; choose from: $$(cd workflows/config && ls *.yaml | grep -v schema | sed 's/.yaml//' | xargs)" && false

$(READY): requirements/lock.txt requirements/data.txt requirements/uv.txt
	@echo "building $(VENV) from requirements/*.txt (about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "onestep needs CPython >= 3.11; try: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync -q --python $(BIN)/python --compile-bytecode --require-hashes \
		requirements/lock.txt requirements/data.txt
	@touch $@
