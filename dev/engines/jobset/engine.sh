# What dev/engines/build and dev/engines/up need to know of JobSet. Sourced.
# shellcheck shell=bash disable=SC2034,SC2154

# The module, its `program` if that is not at the root, where the CRDs and `webhooks` are, and a file that is `edited`, by
# the expression `edit` of sed.
module=sigs.k8s.io/jobset
crds=config/components/crd/bases webhooks=config/components/webhook/manifests.yaml

configure() {
  cat >"$files/config.yaml" <<END
apiVersion: config.jobset.x-k8s.io/v1alpha1
kind: Configuration
health: {healthProbeBindAddress: "127.0.0.1:$probes"}
metrics: {bindAddress: "0"}
webhook: {host: 127.0.0.1, port: $webhook_port, certDir: "$files"}
leaderElection: {leaderElect: false}
internalCertManagement: {enable: false}
END
  flags=(--config="$files/config.yaml")
}
