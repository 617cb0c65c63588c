# As ../jobset/engine.sh, for Argo Workflows. A template needs a `command`: where it has none, the registry of its image is asked.
# shellcheck shell=bash disable=SC2034,SC2154

module=github.com/argoproj/argo-workflows/v4 program=cmd/workflow-controller
crds=manifests/base/crds/minimal
# It would listen on all interfaces.
edited=cmd/workflow-controller/main.go edit='s|":6060"|os.Getenv("HEALTH_ADDRESS")|'

configure() {
  flags=(--namespace=argo --executor-image=argoexec)
  probe=healthz
  export HEALTH_ADDRESS=127.0.0.1:$probes LEADER_ELECTION_DISABLE=true
}
