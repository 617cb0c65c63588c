# As ../jobset/engine.sh, for KubeRay; its webhooks are off.
# shellcheck shell=bash disable=SC2034,SC2154

module=github.com/ray-project/kuberay/ray-operator
crds=config/crd/bases

configure() { flags=(--metrics-addr=0 --health-probe-bind-address="127.0.0.1:$probes" --enable-leader-election=false); }
