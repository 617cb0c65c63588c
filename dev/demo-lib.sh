# What the demos share: commands that are printed as one would type them in the repository and run, a control plane that is
# removed afterwards, and the operator with its own permissions. Sourced by dev/demo and dev/demo-workloads.
# shellcheck shell=bash

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
demo=${0##*/}

# build WHAT...: as cargo calls it.
build() {
  dev/check/prerequisites
  echo "$demo: 1. etcd, kube-apiserver and kubectl" >&2
  assets=$(dev/control-plane/build)
  # The profile of the tests: quicker to build than a release, and `make test` needs the same crates.
  echo "$demo: 2. the operator; the first build takes a few minutes on two cores" >&2
  cargo build --locked "$@"
}

# begin: makes a folder that looks like the repository to the commands the current one, so that what they write is out of the way.
begin() {
  local built=${CARGO_TARGET_DIR:-$root/target}/debug
  echo "$demo: 3. the demo" >&2
  work=$(mktemp -d "${TMPDIR:-/tmp}/ai-api-demo.XXXXXX")
  trap clean_up EXIT
  trap 'echo; echo "$demo: interrupted"; exit 130' INT TERM HUP
  ln -s "$root/examples" "$root/deploy" "$work"
  cd "$work"
  PATH=$assets:$built:$built/examples:$PATH
  # kubectl gets neither the user's settings nor their cache.
  export PATH KUBECONFIG=$work/control-plane/admin.kubeconfig KUBECACHEDIR=$work/cache KUBERC=off
  # No proxy between curl and the operator.
  export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
}
# What a demo has started.
operator='' runner=''
clean_up() {
  trap '' INT TERM
  [[ -z $runner ]] || kill "$runner" 2>/dev/null || true
  [[ -z $operator ]] || kill "$operator" 2>/dev/null || true
  "$root/dev/control-plane/down" "$work/control-plane"
  [[ -z $operator ]] || kill -KILL "$operator" 2>/dev/null || true
  rm -rf "$work"
}

say() { printf '\n# %s\n' "$@"; }
show() { # COMMAND, as typed
  printf '$ %s\n' "$1"
  eval "$1" || fail "the command failed"
}
fail() {
  printf '\n%s: %s\n' "$demo" "$1" >&2
  if [[ -s operator.log ]]; then
    echo "$demo: the end of the operator's log:" >&2
    tail -n 20 operator.log >&2
  fi
  exit 1
}
expect() { # WHAT WANTED COMMAND...
  local what=$1 wanted=$2 got
  shift 2
  got=$("$@") || fail "$what: '$*' failed"
  [[ $got == "$wanted" ]] || fail "$what should be '$wanted', but is '$got'"
}
field() { kubectl get "$1" -o "jsonpath=$2"; }

up() {
  "$root/dev/control-plane/up" "$work/control-plane" >/dev/null
  show "kubectl version"
}

install() { # KUSTOMIZATION
  say "Install the custom resources, the operator and its rights"
  show "kubectl apply --server-side -k $1"
  show "kubectl wait --for=condition=Established crd/executions.aiapi.dev crd/deployments.aiapi.dev crd/bulkupdates.aiapi.dev --timeout=60s"
}

# act_as USER SERVICEACCOUNT NAME: makes NAME.kubeconfig, with the permissions of a ServiceAccount instead of the admin's.
act_as() {
  show "kubectl config view --raw --minify --flatten > $3.kubeconfig"
  show "kubectl config --kubeconfig $3.kubeconfig set-credentials $1 --token \"\$(kubectl create token $2)\""
  show "kubectl config --kubeconfig $3.kubeconfig set-context --current --user $1"
  show "kubectl config --kubeconfig $3.kubeconfig delete-user admin"
}

start_operator() {
  local port probes
  act_as ai-api-operator "ai-api-operator -n ai-api-system" operator
  show "kubectl auth whoami --kubeconfig operator.kubeconfig -o jsonpath='{.status.userInfo.username}{\"\n\"}'"
  # A free port below the ephemeral ones.
  while port=$((20000 + RANDOM % 12000)); (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  probes=127.0.0.1:$port
  # In its own process group: Ctrl-C is for the demo, which then stops it.
  set -m
  show "ai-api-operator controller --kubeconfig operator.kubeconfig --namespace ai-api-system --metrics-bind-address $probes > operator.log 2>&1 &"
  operator=$!
  set +m

  say "It is ready when it is the leader and has listed everything"
  show "curl -fs --retry 60 --retry-delay 1 --retry-connrefused http://$probes/readyz"
  echo
}

# in_force POLICY ANNOTATION: waits until the leader has recorded in its Lease that the policy is in force.
in_force() {
  show "policy=\$(kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings $1 -o jsonpath='{.items[0].metadata.uid}/{.items[0].metadata.generation} {.items[1].metadata.uid}/{.items[1].metadata.generation}')"
  show "kubectl wait lease/ai-api-operator -n ai-api-system --timeout=60s --for=jsonpath='{.metadata.annotations.aiapi\\.dev/$2}'=\"\$policy\""
}

stop_operator() {
  local deadline=$((SECONDS + 30))
  say "On SIGTERM the operator shuts down gracefully, and releases its Lease"
  show "kill %1"
  while kill -0 "$operator" 2>/dev/null; do
    ((SECONDS < deadline)) || fail "the operator did not exit"
    sleep 0.1
  done
  wait "$operator" || fail "the operator exited with $?"
  operator=
  expect "the holder of the Lease" "" kubectl get lease ai-api-operator -n ai-api-system -o 'jsonpath={.spec.holderIdentity}'
}
