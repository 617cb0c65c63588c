# `make` alone prints the `##` comment of each target.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
dir := target/control-plane

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: up
up: ## start a Kubernetes control plane on this machine
	@dev/control-plane/up $(dir)
	@echo "Then:"
	@echo "  kubectl apply --server-side -k deploy/base    # CRDs, RBAC and the operator's Deployment (there is no node to run it)"
	@echo "  cargo run --locked -- controller --namespace ai-api-system    # the operator, in this shell, with your permissions"
	@echo "  kubectl apply -f examples/meta-on.yaml        # enable bulk updates, in another shell"
	@echo "docs/getting-started.md runs it with its own permissions, and continues with example workloads."
	@echo "make down stops it; its data stays in $(dir)."

.PHONY: down
down: ## stop the control plane of `make up`
	@dev/control-plane/down $(dir)

.PHONY: demo
demo: ## show the operator at work, on a control plane of its own
	@dev/demo

.PHONY: demo-workloads
demo-workloads: ## the same for work that really runs: a training Job is stopped half-way, a model server deleted, Pods and all
	@dev/demo-workloads

# Test programs mostly wait, and each has a control plane of its own, so three run side by side: first the short ones, whose
# results show that it goes on, then the longest.
short := docs
long := processes exclusive install operator faults
# Runs nothing but what the variable ENGINES chooses.
apart := engines
programs := $(short) $(long) $(filter-out $(short) $(long) $(apart),$(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs)))
side_by_side := --jobs 3 --keep-going --output-sync=target

.PHONY: test
test: ## all tests, including those against a real API server
	@dev/check/prerequisites
	@dev/control-plane/build >/dev/null
	@dev/control-plane/build-nodes >/dev/null
	cargo test --locked --no-run --package ai-api-operator --package ai-api-judge --package simulated-api-server
	@echo "Three test programs at a time; each prints its results when it is finished. All take about a quarter of an hour."
	@$(MAKE) $(side_by_side) unit-tests $(programs:%=program-%)
	@# What the others have left tells whether a right is granted for nothing.
	cargo test --locked --test docs -- --ignored rights_used

.PHONY: unit-tests
unit-tests:
	cargo test --locked --lib --bins --package ai-api-operator --package ai-api-judge
	cargo test --locked --package simulated-api-server

program-%:
	cargo test --locked --test $* -- $(arguments)

.PHONY: test-faults
test-faults: ## the faults that `make test` leaves out: more than 6800 plans, more than half an hour on two cores; FAULTS_SHARE=1/2 is half of them
	@dev/control-plane/build >/dev/null
	cargo test --locked --test faults -- --ignored

ENGINES ?= $(notdir $(patsubst %/engine.sh,%,$(wildcard dev/engines/*/engine.sh)))

.PHONY: test-engines
test-engines: export ENGINES := $(ENGINES)
test-engines: engines ## workloads on the controllers of dev/engines, or of ENGINES=jobset; each takes two to four minutes to build, once
	@dev/control-plane/build >/dev/null
	@dev/control-plane/build-nodes >/dev/null
	cargo test --locked --test engines

.PHONY: engines
engines:
	@for engine in $(ENGINES); do dev/engines/build $$engine >/dev/null || exit 1; done

# With this cfg, tokio wakes several tasks in an order that is drawn from the seed, too.
# Memory that a life leaves is kept for the next one: a sixth of the time went into giving it back.
simulation = MIMALLOC_PURGE_DELAY=-1 RUSTFLAGS="--cfg tokio_unstable" cargo test --locked --profile simulation --test simulation

.PHONY: simulate
simulate: ## whole lives of the operator in a simulated world: COUNT=10000 of them, or HOURS=1, from FIRST=0 on; SEED=7 prints the log of one, UNTIL=violation counts the lives until a promise is broken
	$(simulation) -- --ignored --exact --nocapture simulate

.PHONY: test-simulation
test-simulation: ## the tests of the simulation as `make simulate` builds it: each seed has one log, whatever else happens
	$(simulation)

# What .ci/run builds while tests wait.
.PHONY: simulation release
simulation:
	$(simulation) --no-run
release:
	cargo build --release --locked

# What is about the operator and not about the API server, or takes long, runs on the newest only.
on_oldest := exclusive operator install gateway differential plugin
not_on_oldest := --skip bad_configuration:: --skip rbac:: --skip telemetry::

.PHONY: test-oldest
test-oldest: export AI_API_TEST_KUBERNETES := 1.33
test-oldest: ## the tests against an API server, on the oldest supported Kubernetes
	@dev/check/prerequisites
	@"$$(dev/control-plane/build)/kube-apiserver" --version
	cargo test --locked --no-run $(on_oldest:%=--test=%)
	@$(MAKE) $(side_by_side) arguments='$(not_on_oldest)' $(on_oldest:%=program-%)

.PHONY: test-install
test-install: ## install with Kustomize and with Helm, and carry out a BulkUpdate
	@dev/check/install

.PHONY: test-uninstall
test-uninstall: ## uninstall while BulkUpdates are in progress, and check that nothing is stuck or left
	@dev/check/prerequisites
	@dev/check/uninstall

.PHONY: test-clients
test-clients: ## the gateway and its clients: SAP's SDKs, schemathesis, Postman, curl; needs Python and Node.js
	@dev/check/clients

# The operator as it is shipped. A panic unwinds in what measures it, so that it ends the processes it has started.
measure = cargo build --release --locked && \
  CARGO_PROFILE_RELEASE_PANIC=unwind cargo run --release --locked --package ai-api-benches --bin

.PHONY: bench
bench: ## the operator as ratios to a bare client in the same run: a table, and target/bench/operator.json; ten minutes
	@dev/control-plane/build >/dev/null
	$(measure) bench-operator

.PHONY: bench-sizes
bench-sizes: ## the operator's memory with large objects, a thousand BulkUpdates and a hundred thousand targets; five minutes
	@dev/control-plane/build >/dev/null
	export AI_API_BENCH_GROUPS=sizes && $(measure) bench-operator

.PHONY: bench-workloads
bench-workloads: ## Executions that run as Jobs: stopped, beside kubectl; a thousand at once; adopted ones; half an hour
	@dev/control-plane/build >/dev/null
	@dev/control-plane/build-nodes >/dev/null
	cargo test --locked --test workloads -- --ignored --exact bulk::a_thousand_jobs_are_adopted_stopped_and_deleted_and_no_other_is_touched
	export AI_API_BENCH_GROUPS=workloads && $(measure) bench-operator

.PHONY: bench-plugin
bench-plugin: ## kubectl aiapi beside kubectl patch: a thousand Executions stopped; its memory with a hundred thousand; ten minutes
	@dev/control-plane/build >/dev/null
	export AI_API_BENCH_GROUPS=plugin && $(measure) bench-operator

.PHONY: bench-gateway
bench-gateway: ## the gateway, beside a client that does the same without it, and under many callers at once; half an hour
	@dev/control-plane/build >/dev/null
	$(measure) bench-gateway

.PHONY: mutations
mutations: ## apply each patch of tests/mutations, and check that the test named there fails
	@dev/control-plane/build >/dev/null
	dev/check/mutations

.PHONY: simulated-mutations
simulated-mutations: ## the same with the simulation alone: how many lives it takes until one breaks a promise
	dev/check/simulated-mutations

.PHONY: mutants
mutants: ## cargo-mutants on the decisions and the requests; two hours on two cores
	@dev/control-plane/build >/dev/null
	dev/check/mutants

.PHONY: image
image: ## build the container image, with docker or buildah
	@dev/release/image

.PHONY: lint
lint: ## format, clippy, shellcheck, actionlint, spelling, and cargo-deny: licences, bans, sources
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	dev/check/scripts
	dev/check/deny licenses bans sources

.PHONY: advisories
advisories: ## dependencies with known vulnerabilities (cargo-deny); downloads the database from github.com
	dev/check/deny advisories

.PHONY: manifests
manifests: ## check deploy/: Kustomize and Helm agree, a real API server accepts it, kubeconform, promtool
	@dev/check/manifests

.PHONY: chart
chart: ## copy the Kustomize manifests into the Helm chart
	@dev/chart-files

.PHONY: crds
crds: ## generate crds/, and its copy in the Helm chart, from the Rust types
	cargo run --locked -- crds --out-dir crds
	@dev/chart-files

.PHONY: docs
docs: ## update the field reference in docs/api.md and the code map in docs/architecture.md from the Rust sources
	UPDATE_DOCS=1 cargo test --locked --test docs

.PHONY: drift
drift: ## fail if crds/ differs from what the Rust types generate
	@dev/check/drift

.PHONY: crds-compat
crds-compat: ## fail if crds/ has breaking changes since the last release
	@dev/check/prerequisites
	@dev/check/crds-test
	@dev/check/crds
