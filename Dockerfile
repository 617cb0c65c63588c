# The operator as an image: one static binary, run by a user without a name, and nothing else to run.
# Each architecture is built on a machine of its own kind (or under emulation): no cross-compiler to keep in step.

# `dev/build-image --local-base` puts another builder here, made of Debian's packages, where no registry is at hand.
ARG BUILDER=docker.io/library/rust:1.95.0-slim-bookworm
FROM ${BUILDER} AS build
WORKDIR /build

# It notes in the binary which crates are in it: an SBOM of this image has nothing else to go by.
RUN cargo install --locked --root /usr/local cargo-auditable@0.7.7

# The toolchain of the tests and the builder's must be the same. Not in /build, where rustup would act on it.
COPY rust-toolchain.toml /toolchain/
RUN grep -q "\"$(rustc --version | cut -d' ' -f2)\"" /toolchain/rust-toolchain.toml || \
    { echo "rust-toolchain.toml is not of $(rustc --version), the builder's" >&2; exit 1; }

# Static, with glibc and not musl, whose malloc slows threads down. glibc from 2.34 looks names up in /etc/hosts and DNS
# by itself. To name the target keeps build scripts and macros, which can't be static, out of this.
COPY Cargo.toml Cargo.lock ./
# cargo reads the manifest of each crate of the workspace, and builds none of these two.
COPY benches/Cargo.toml benches/
COPY tests/support/Cargo.toml tests/support/
# The binary has the admission policy in it that it compares the cluster's with.
COPY deploy/cluster/admission.yaml deploy/cluster/
COPY docs/openapi.yaml docs/
COPY src src
RUN target=$(rustc -vV | sed -n 's/^host: //p') && \
    RUSTFLAGS="-C target-feature=+crt-static" cargo auditable build --release --locked --target "$target" && \
    mv "target/$target/release/ai-api-operator" /

FROM scratch
LABEL org.opencontainers.image.title="ai-api-operator" \
      org.opencontainers.image.description="Stops and deletes AI API Executions and Deployments in bulk, on any Kubernetes cluster" \
      org.opencontainers.image.licenses="Apache-2.0"
# For what names no CA of its own: traces over https, a kubeconfig for a public address. In a cluster the API server's CA
# comes with the ServiceAccount.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /ai-api-operator /
# By number: kubelet can't tell that a name is not root's (runAsNonRoot).
USER 65532:65532
ENTRYPOINT ["/ai-api-operator"]
