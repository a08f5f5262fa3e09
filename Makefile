# Two commands do everything on a fresh Debian machine with Swift:
#   make run     builds, starts the supervisor on this machine and sends two Tasks for one pull request
#   make test    runs every test
# Each installs what is missing first (make deps).

SWIFT ?= swift
BUILD := $(CURDIR)/.build/debug

.PHONY: help run test test-agents fuzz-api build simulate mutants bench images format lint deps clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -4; echo; grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 10

run: build ## the demonstration; ONCE=1 ends after the second Task
	@ONCE=$(ONCE) BUILD=$(BUILD) scripts/run.sh

build: deps
	@$(SWIFT) build

test: deps ## every test; LONG=1 for the long variants
	$(SWIFT) build --build-tests
	@HOLDFAST_LONG=$(LONG) SWIFT=$(SWIFT) scripts/test.sh

test-agents: deps ## the drivers with real agents, installed under the cache folder; AGENTS="claude" for some
	$(SWIFT) build --build-tests
	@SWIFT=$(SWIFT) AGENTS="$(AGENTS)" scripts/test-agents.sh

fuzz-api: deps ## requests of every kind, valid and not: sidecar and supervisor must answer as docs/openapi*.yaml say
	@for product in sidecar supervisor demo-agent; do $(SWIFT) build --product holdfast-$$product || exit; done
	@BUILD=$(BUILD) scripts/fuzz-api.sh

simulate: deps ## the machines in a simulated world; SEEDS=1..100000, or one seed; DENSE=1 for dense plans
	@$(SWIFT) build --product holdfast-simulate
	@$(BUILD)/holdfast-simulate $(or $(SEEDS),1..100000) $(if $(DENSE),dense)

mutants: deps ## breaks every rule of the machines: the simulation must notice each
	@SWIFT=$(SWIFT) scripts/mutants.sh

bench: deps ## the figures of the README, each as a ratio
	benchmarks/run.sh
	benchmarks/sessions.sh

images: deps ## container images, as archives in build/images
	images/build.sh

format: ## format every source
	$(SWIFT) format --in-place --recursive --parallel Sources Tests Package.swift

lint: ## what CI checks before the tests
	$(SWIFT) format lint --strict --recursive --parallel Sources Tests Package.swift
	scripts/lint.sh

deps: ## install the Debian packages that are missing
	@scripts/deps.sh

clean:
	rm -rf .build build
