# As ../jobset/engine.sh, for KServe, in the mode "Standard", and without its webhooks: they would fill in defaults.
# shellcheck shell=bash disable=SC2034,SC2154

module=github.com/kserve/kserve program=cmd/manager
crds=config/crd/full
# The server of its webhooks runs in any case, and would listen on all interfaces.
edited=cmd/manager/main.go
edit='s|Port: +options.webhookPort,|Host: "127.0.0.1", & CertDir: os.Getenv("WEBHOOK_CERTS"),|'

configure() {
  flags=(--metrics-addr=0 --health-probe-addr="127.0.0.1:$probes" --webhook-port="$webhook_port")
  export WEBHOOK_CERTS=$files POD_NAMESPACE=kserve
}
