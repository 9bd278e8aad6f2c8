# Every target sets up what it needs from python3 (3.11 or newer) and make alone.
PYTHON ?= python3
# Test files shared out among this many processes, each with servers of its own (about 2.5 GB): most tests wait.
JOBS ?= 3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help venv stack stack-down stack-clean demo demo-stop test test-browser test-rabbitmq test-kubernetes
.PHONY: test-alerts flower-picture soak repeat fuzz bench settings audit bill-of-materials lint types imports

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(READY) ## Build or refresh .venv (PYTHON=… chooses the interpreter)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
	  echo "Next step: install one and name it: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  echo "Creating $(VENV) with $$($(PYTHON) --version)"; \
	  $(PYTHON) -m venv --clear $(VENV) || { \
	    echo "'$(PYTHON) -m venv' does not work." >&2; \
	    echo "Next step: install your system's package for it (Debian and Ubuntu: python3-venv)." >&2; \
	    rm -rf $(VENV); exit 1; }; }
	@echo "Installing the pinned packages (the first time takes a minute or two)"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --require-hashes -r requirements.txt
	@echo "Installing this project"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --no-deps --editable .
	@touch $@

stack: $(READY) ## Start Kafka, Cassandra and Redis on 127.0.0.1
	@$(BIN)/python -m devstack up

stack-down: $(READY) ## End them; their data stays
	@$(BIN)/python -m devstack down

stack-clean: $(READY) ## End them and remove their data
	@$(BIN)/python -m devstack down --delete

demo: $(READY) ## Run the main job on real input and show it (KEEP=1 leaves everything running)
	@KEEP="$(KEEP)" $(BIN)/python -m demo

demo-stop: $(READY) ## End what `make demo KEEP=1` left running
	@$(BIN)/python -m demo stop

test: $(READY) ## Run every test (ARGS="…" is passed to pytest, JOBS=… processes share the files)
	@$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-browser: $(READY) ## Look at Flower's pages in a headless Chromium, which must be installed
	@$(BIN)/pytest tests/browser $(ARGS)

test-rabbitmq: $(READY) ## Run the tests of the broker with RabbitMQ, which must be installed
	@$(BIN)/python -m tests.faults.rabbitmq -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-alerts: ## Check the alert rules with Prometheus' promtool, which must be installed
	@promtool check rules deploy/prometheus/alerts.yml
	@promtool test rules deploy/prometheus/alerts_test.yml

test-kubernetes: $(READY) ## Render the Helm chart with helm, which must be installed
	@$(BIN)/pytest -n $(JOBS) tests/kubernetes $(ARGS)

flower-picture: $(READY) ## Take the picture of docs/flower.md
	@$(BIN)/python -m tests.browser.picture docs/images/flower-tasks.png

soak: $(READY) ## Load it under random faults (MINUTES=… SEED=… ARGS="--poison 3")
	@$(BIN)/python -m tests.faults.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

repeat: $(READY) ## Run tests many times and tally what failed (TIMES=20 ARGS="-n 3 --dist loadfile tests/faults")
	@$(BIN)/python -m tests.repeat $(if $(TIMES),--times $(TIMES)) $(or $(ARGS),tests/faults)

fuzz: $(READY) ## Sort a million made-up records as the bridge does (COUNT=… SEED=…)
	@$(BIN)/python -m tests.fuzz.run --count $(or $(COUNT),1000000) $(if $(SEED),--seed $(SEED))

bench: $(READY) ## Measure it against a bare loop over the drivers (ARGS="--workers 1 --workers 2 --json bench.json")
	@$(BIN)/python -m benchmarks $(ARGS)

settings: $(READY) ## Write docs/settings.md, README's table and the chart's list from the catalogue
	@$(BIN)/python -m reconciliation.settings_reference

audit: $(READY) ## Say what is known against the locked packages (AUDIT_DATABASE=all.zip: without a network)
	@$(BIN)/python -m inventory.audit $(ARGS)

bill-of-materials: $(READY) ## Write build/bill-of-materials.json (CycloneDX)
	@$(BIN)/python -m inventory.bill --output build/bill-of-materials.json

lint: $(READY) ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY) ## Check types
	@$(BIN)/mypy

imports: $(READY) ## Check which part imports which
	@$(BIN)/lint-imports
