# `make` alone prints what there is. Nothing is needed beforehand but Python 3.11+.

PYTHON ?=
BIN := .venv/bin

export PYTHON
.DEFAULT_GOAL := help
.PHONY: help run demo parts ready ready-dev ready-parts ready-bench test test-unit test-service \
	test-integration test-e2e test-faults lint format migrations contracts bench lock clean

# Two at a time: the suite waits for databases and brokers as much as it computes.
PYTEST = $(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadscope

##@ Run

run: ready ## All four services on this machine, http://127.0.0.1:8080 (KEFU_PORT, KEFU_HOME)
	@exec $(BIN)/kefu dev

demo: ready ## The same, and the shipped demo day played against it
	@exec $(BIN)/kefu demo

parts: ready-dev ## A real PostgreSQL and Kafka until Ctrl-C, with the settings that use them
	@exec $(BIN)/python -m tests.parts up

##@ Test

test: ready-parts ## Everything, on real PostgreSQL and Kafka (ARGS="-k word" goes to pytest)
	$(PYTEST) -m "not faults" $(ARGS)

test-unit: ready-dev ## Decisions and small pieces; no database, no broker
	$(PYTEST) tests/unit $(ARGS)

test-service: ready-dev ## One service each, on SQLite and PostgreSQL
	$(PYTEST) tests/service $(ARGS)

test-integration: ready-parts ## libs/common against the real database and broker
	$(PYTEST) tests/integration $(ARGS)

test-e2e: ready-parts ## All four services together
	$(PYTEST) tests/e2e $(ARGS)

test-faults: ready-parts ## Kills, pauses and cuts; KILLS=n sets how many on each engine (100)
	$(BIN)/python -m pytest -m faults $(ARGS)
	@$(BIN)/python -m tests.faults --kills $(or $(KILLS),$(KEFU_TEST_KILLS),100) \
		$(if $(SEED),--seed $(SEED)) --engine $(or $(ENGINE),both)

# The benchmarks are type-checked too, so their peers must be installed.
lint: ready-bench ## ruff, strict types, and the walls between the services
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

##@ Change

format: ready-dev ## Sort imports, fix what ruff can fix, format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

migrations: ready-dev ## A new migration from the models: SERVICE=order_ops M="add a column"
	@test -n "$(SERVICE)" && test -n "$(M)" || \
		{ echo 'usage: make migrations SERVICE=order_ops M="what changes"' >&2; exit 2; }
	$(BIN)/kefu migrations-create "$(SERVICE)" "$(M)"

contracts: ready ## Write AsyncAPI and JSON Schemas of all events to docs/contracts/
	$(BIN)/kefu contracts export

bench: ready-bench ## Measure beside the peers; ONLY=P1 runs one
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

lock: ready-dev ## Compile requirements*.in to the locks (ARGS=--upgrade takes newer versions)
	scripts/lock $(ARGS)

##@ House

ready: ## The environment that runs (done by itself when needed)
	@scripts/bootstrap runtime

ready-dev: ## The environment that tests
	@scripts/bootstrap dev

ready-parts: ready-dev ## What tests start for real, fetched once into ~/.cache/kefu (KEFU_CACHE)
	@$(BIN)/python -m tests.parts fetch

ready-bench: ## The environment that measures
	@scripts/bootstrap bench

clean: ## Remove the environment, caches and results; data in .kefu/ stays
	rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache \
		.ruff_cache .schemathesis bench/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:
	@awk 'BEGIN {FS = ":.*## "; print "make <what>"} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  \033[36m%-17s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
