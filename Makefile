# Everything one does with this repository. `make` alone lists the targets.
# .venv is made once from the lock file, which pins every package by hash and names no index.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
.PHONY: help setup opa peers keycloak upstreampeers demo run test check static lint types imports policies docs bench fuzz lock clean

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.complete
OPA := .cache/bin/opa
PEERS := .cache/bin/log-verifier .cache/bin/fsck .cache/bin/litewitness
ARGS ?=
# Each has a PostgreSQL of its own; more than there are cores only wait for each other.
TEST_PROCESSES ?= 2

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## .venv with everything pinned, nothing else

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

opa: ## the pinned real OPA in .cache/bin/opa; says so and goes on where there is no Go
	@if command -v go >/dev/null; then $(MAKE) --no-print-directory $(OPA); \
	else echo "There is no Go here, so the real OPA was not built; its tests will be skipped. The embedded engine needs nothing."; fi

$(OPA): tools/opa/go.mod tools/opa/go.sum
	@echo "Building OPA from its Go module; the first time takes a minute or two."
	@mkdir -p $(dir $@)
	cd tools/opa && CGO_ENABLED=0 GOTOOLCHAIN=local go build -mod=readonly -buildvcs=false -trimpath -ldflags '-s -w' -o ../../$@ github.com/open-policy-agent/opa
	@touch $@

peers: ## other people's verifiers and witness of the log in .cache/bin; says so and goes on where there is no Go
	@if command -v go >/dev/null; then $(MAKE) --no-print-directory $(PEERS); \
	else echo "There is no Go here, so the log's outside verifiers were not built; their tests will be skipped."; fi

.cache/bin/log-verifier: PACKAGE := .
.cache/bin/fsck: PACKAGE := github.com/transparency-dev/tessera/cmd/fsck
.cache/bin/litewitness: PACKAGE := filippo.io/torchwood/cmd/litewitness
$(PEERS): tools/log_verifier/go.mod tools/log_verifier/go.sum tools/log_verifier/main.go
	@mkdir -p $(dir $@)
	cd tools/log_verifier && CGO_ENABLED=0 GOTOOLCHAIN=local go build -mod=readonly -buildvcs=false -trimpath -ldflags '-s -w' -o ../../$@ $(PACKAGE)
	@touch $@

KEYCLOAK := 26.4.5
keycloak: ## a real hospital login (Keycloak) in .cache for its test; wants Java 17 and Maven, and 160 MB from Maven Central
	@command -v mvn >/dev/null && command -v java >/dev/null || { echo "There is no Java or no Maven here; the test of the hospital login will be skipped."; exit 1; }
	test -x .cache/keycloak/keycloak-$(KEYCLOAK)/bin/kc.sh || { \
	  mvn --quiet org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dartifact=org.keycloak:keycloak-quarkus-dist:$(KEYCLOAK):zip \
	    -DoutputDirectory=.cache/keycloak && $(PYTHON) -m zipfile -e .cache/keycloak/keycloak-quarkus-dist-$(KEYCLOAK).zip .cache/keycloak && \
	  chmod +x .cache/keycloak/keycloak-$(KEYCLOAK)/bin/kc.sh; }
	.cache/keycloak/keycloak-$(KEYCLOAK)/bin/kc.sh build --db=dev-mem

upstreampeers: ## FHIR servers that we did not write (FHIRStarter; HAPI where there are Java and Maven) in .cache, for the test that pulls from them
	test -x .cache/fhirstarter/bin/python || $(PYTHON) -m venv .cache/fhirstarter
	.cache/fhirstarter/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement tests/foreign/fhirstarter/requirements.lock
	@if command -v mvn >/dev/null && command -v java >/dev/null; then \
	  test -f .cache/hapi/done || { mvn --quiet --batch-mode --file tests/foreign/hapi/pom.xml \
	    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=$(CURDIR)/.cache/hapi && touch .cache/hapi/done; }; \
	else echo "There is no Java or no Maven here; the test that pulls from HAPI will be skipped."; fi

demo: $(STAMP) ## plays the whole story step by step, then serves; ARGS='--once' stops after the story
	$(BIN)/broker demo $(ARGS)

run: $(STAMP) ## serves the broker on the database that is already there; ARGS='--port 9000'
	$(BIN)/broker migrate
	$(BIN)/broker serve $(ARGS)

test: $(STAMP) opa peers ## every test that this machine can run; says loudly what it skipped and why; ARGS='tests/unit -k consent'
	@mkdir -p reports
	$(BIN)/python -m pytest -p tests.plugins.outcome -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

check: static test ## format, lint, types, import contracts, policies, documents, tests: what CI runs

static: lint types imports policies docs ## check without the tests

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/hadolint Dockerfile
	bash -n .ci/run deploy/secrets.sh deploy/postgres/10-logins.sh

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports --no-cache

policies: $(STAMP)
	$(BIN)/broker policy check
	$(BIN)/broker policy test
	@if command -v regal >/dev/null; then regal lint policies/broker || echo "Regal has opinions; they are advice, the dialect is held by broker policy check."; \
	else echo "NOT RUN: Regal, the linter of Rego, is not here (the Go module proxy does not serve it everywhere); opa fmt, opa check --strict and our own checks ran."; fi

docs: $(STAMP)
	$(BIN)/codespell README.md CHANGELOG.md tests/README.md docs broker policies tools migrations Makefile --ignore-words tools/codespell-ignore.txt --skip "*.sum"
	$(BIN)/python -m pytest -q tests/documentation

bench: $(STAMP) opa ## the benchmarks beside their floors; prints ratios, writes benchmarks/results/*.json
	$(BIN)/python -m benchmarks $(ARGS)

fuzz: $(STAMP) ## Atheris on everything that reads bytes from outside (Linux, Python 3.11); ARGS='token 600' or ARGS=60
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement tools/fuzz/requirements.lock
	$(BIN)/python -m tools.fuzz $(ARGS)

lock: ## resolve pyproject.toml anew into the lock files
	test -x .cache/lock/bin/uv || { $(PYTHON) -m venv .cache/lock && .cache/lock/bin/python -m pip install --quiet uv; }
	.cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade pyproject.toml --output-file requirements.lock
	.cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade pyproject.toml --group dev --output-file requirements-dev.lock
	echo hatchling | .cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --constraint requirements-dev.lock - --output-file requirements-build.lock

clean: ## removes .venv, .cache, reports and var (the try-out's database and its keys)
	@if [ -f var/postgres/postmaster.pid ] && kill -0 "$$(head -n 1 var/postgres/postmaster.pid)" 2>/dev/null; then \
	  echo "The try-out's database is running; stop the broker first." >&2; exit 1; fi
	rm -rf .venv .cache reports var dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
