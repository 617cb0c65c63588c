# The operator as an image, with the kubectl plugin for CronJobs: two static binaries, and a numeric user. Each architecture is built on a machine of its own
# kind, or under emulation, so there is no cross-compiler to maintain.

# `dev/release/image --local-base` sets another builder, made from Debian packages, where no registry can be reached.
ARG BUILDER=docker.io/library/rust:1.95.0-slim-bookworm
FROM ${BUILDER} AS build
WORKDIR /build

# Embeds the list of crates in the binary: an SBOM of this image has no other source.
RUN cargo install --locked --root /usr/local cargo-auditable@0.7.7

# The builder must have the toolchain of the tests. Not in /build, where rustup would act on the file.
COPY rust-toolchain.toml /toolchain/
RUN grep -q "\"$(rustc --version | cut -d' ' -f2)\"" /toolchain/rust-toolchain.toml || \
    { echo "the builder has $(rustc --version), which is not the one in rust-toolchain.toml" >&2; exit 1; }

# Static, with glibc: the malloc of musl is slow with threads. From 2.34, glibc resolves names by /etc/hosts and DNS
# without plugins. With an explicit target, the flag does not apply to build scripts and macros, which cannot be static.
COPY Cargo.toml Cargo.lock ./
# cargo reads the manifest of each crate of the workspace, and builds none of these four.
COPY benches/Cargo.toml benches/
COPY tests/api-server/Cargo.toml tests/api-server/
COPY tests/judge/Cargo.toml tests/judge/
COPY tests/support/Cargo.toml tests/support/
# The binary contains the admission policy, and compares the one in the cluster with it.
COPY deploy/cluster/admission.yaml deploy/cluster/
COPY docs/openapi.yaml docs/
# What `kubectl aiapi explain` says.
COPY docs/troubleshooting.md docs/workloads.md docs/
COPY src src
RUN target=$(rustc -vV | sed -n 's/^host: //p') && \
    RUSTFLAGS="-C target-feature=+crt-static" cargo auditable build --release --locked --target "$target" && \
    mv "target/$target/release/ai-api-operator" "target/$target/release/kubectl-aiapi" /

FROM scratch
LABEL org.opencontainers.image.title="ai-api-operator" \
      org.opencontainers.image.description="Stops and deletes AI API Executions and Deployments in bulk, on any Kubernetes cluster" \
      org.opencontainers.image.licenses="Apache-2.0"
# For connections without a CA of their own: traces over HTTPS, a kubeconfig for a public address. In a cluster, the CA
# of the API server comes with the ServiceAccount.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /ai-api-operator /kubectl-aiapi /
# By number: with a name, kubelet cannot verify runAsNonRoot.
USER 65532:65532
ENTRYPOINT ["/ai-api-operator"]
