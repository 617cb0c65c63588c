# `make` alone prints the manual: the `##` comment of each target.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
dir := target/control-plane

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: up
up: ## start a Kubernetes control plane on this machine and say how to use it
	@dev/control-plane/up $(dir)
	@echo "Then"
	@echo "  kubectl apply --server-side -k deploy/base    # CRDs, RBAC and the operator's Deployment (no node runs it)"
	@echo "  cargo run -- controller --namespace ai-api-system    # the operator, on this machine"
	@echo "  kubectl apply -f examples/meta-on.yaml        # switch bulk updates on"
	@echo "make down stops it; its data stays in $(dir)."

.PHONY: down
down: ## stop the control plane of `make up`
	@dev/control-plane/down $(dir)

.PHONY: demo
demo: ## show the operator at work on a control plane of its own, from nothing to the outcome
	@dev/demo

.PHONY: test
test: ## all tests, those against a real API server included
	@dev/check-tools
	@dev/control-plane/build >/dev/null
	cargo test --locked
	@# What the others have left tells whether a right is granted for nothing.
	cargo test --locked --test docs -- --ignored rights_used

.PHONY: test-faults
test-faults: ## the faults that `make test` leaves out: more than 6600 plans, half an hour on two cores; FAULTS_SHARE=1/2 is half of them, FAULTS_SELECTION=pairs some 900
	@dev/control-plane/build >/dev/null
	cargo test --locked --test faults -- --ignored

# What is about the operator and not about the API server, or takes long, runs on the newest only.
on_oldest := --test exclusive --test gateway --test install --test operator
not_on_oldest := --skip bad_configuration:: --skip rbac:: --skip telemetry::

.PHONY: test-oldest
test-oldest: export AI_API_TEST_KUBERNETES := 1.33
test-oldest: ## the tests against an API server, on the oldest Kubernetes that is supported
	@dev/check-tools
	@"$$(dev/control-plane/build)/kube-apiserver" --version
	cargo test --locked $(on_oldest) -- $(not_on_oldest)

.PHONY: test-install
test-install: ## install by Kustomize and by Helm, and carry out a BulkUpdate with what that has made
	@dev/check-install

.PHONY: test-uninstall
test-uninstall: ## install, uninstall in the middle of things, and see that nothing is stuck or left
	@dev/check-tools
	@dev/check-uninstall

.PHONY: test-clients
test-clients: ## the gateway and its clients: SAP's Python SDK, schemathesis, Postman, curl; needs Python and Node.js
	@dev/test-clients

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

.PHONY: bench-gateway
bench-gateway: ## the gateway under load, as ratios to a bare client in the same run; seven minutes, once it is built
	@dev/control-plane/build >/dev/null
	$(measure) bench-gateway

.PHONY: mutations
mutations: ## break the operator on purpose in each way of tests/mutations, and see the test named there go red
	@dev/control-plane/build >/dev/null
	dev/mutations

.PHONY: mutants
mutants: ## cargo-mutants over what decides and what sends; two hours on two cores
	@dev/control-plane/build >/dev/null
	dev/mutants

.PHONY: image
image: ## build the container image, with docker or buildah
	@dev/build-image

.PHONY: lint
lint: ## format, clippy, and cargo-deny: licences, bans, sources
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	dev/deny licenses bans sources

.PHONY: advisories
advisories: ## dependencies with known vulnerabilities (cargo-deny); needs the internet, for the database of them
	dev/deny advisories

.PHONY: manifests
manifests: ## check deploy/: Kustomize and Helm make the same, a real API server takes it, kubeconform, promtool
	@dev/check-manifests

.PHONY: chart
chart: ## write anew what the Helm chart takes from the Kustomize manifests
	@dev/chart-files

.PHONY: crds
crds: ## write crds/, and what the Helm chart takes from it, anew from the Rust types
	cargo run --locked -- crds --out-dir crds
	@dev/chart-files

.PHONY: docs
docs: ## update the field reference in docs/api.md and the code map in docs/architecture.md from the Rust sources
	UPDATE_DOCS=1 cargo test --locked --test docs

.PHONY: drift
drift: ## fail if crds/ is not what the Rust types say
	@dev/check-drift

.PHONY: crds-compat
crds-compat: ## fail if crds/ breaks what those of the last release allowed
	@dev/check-tools
	@dev/test-check-crds
	@dev/check-crds
