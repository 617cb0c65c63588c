# As ../jobset/engine.sh, for Kueue. It uses v1beta2 only: the conversion of v1beta1 is left out.
# shellcheck shell=bash disable=SC2034,SC2154

module=sigs.k8s.io/kueue program=cmd/kueue
crds=config/components/crd/bases webhooks=config/components/webhook/manifests.yaml
# It reads the certificate of the metrics, which are off here, from a fixed folder.
edited=cmd/kueue/main.go edit='s|"/etc/kueue/metrics/certs"|os.Getenv("METRICS_CERTS")|'

configure() {
  cat >"$files/config.yaml" <<END
apiVersion: config.kueue.x-k8s.io/v1beta2
kind: Configuration
namespace: kueue-system
health: {healthProbeBindAddress: "127.0.0.1:$probes"}
metrics: {bindAddress: "0"}
webhook: {host: 127.0.0.1, port: $webhook_port, certDir: "$files"}
leaderElection: {leaderElect: false}
internalCertManagement: {enable: false}
featureGates: {VisibilityOnDemand: false}
integrations: {frameworks: [batch/job, jobset.x-k8s.io/jobset, ray.io/rayjob, ray.io/raycluster]}
END
  flags=(--config="$files/config.yaml")
  export METRICS_CERTS=$files
}
