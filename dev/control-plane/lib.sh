# Functions of the scripts in this folder. Sourced.
# shellcheck shell=bash

die() { echo "control-plane: $*" >&2; exit 1; }

# Where binaries are kept, and which Kubernetes versions there are.
# shellcheck disable=SC2034 # used by build and download
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ai-api-operator/control-plane oldest=1.33 newest=1.37

# unusable FOLDER [MINOR]: prints why the binaries there cannot be used: incomplete, or not of that Kubernetes (without
# MINOR: too old).
unusable() {
  local name version minor
  for name in etcd kubectl kube-apiserver; do
    [[ -x $1/$name ]] || { echo "it has no executable $name" && return; }
  done
  version=$("$1/kube-apiserver" --version 2>/dev/null) || true
  minor=$(sed -nE 's/^Kubernetes v(1\.[0-9]+)\..*/\1/p' <<<"$version")
  if [[ -z $minor ]]; then
    echo "its kube-apiserver does not run here"
  elif [[ -n ${2:-} && $minor != "$2" ]]; then
    echo "it has $version, not $2"
  elif ((${minor#1.} < ${oldest#1.})); then
    echo "it has $version, and the oldest supported one is $oldest"
  fi
}

# The folder of the chosen Kubernetes version, in the current one.
chosen_kubernetes() {
  local kubernetes=${AI_API_TEST_KUBERNETES:-$newest}
  [[ -f $kubernetes/go.mod ]] || die "AI_API_TEST_KUBERNETES=$kubernetes is not one of: $(echo [0-9]*)"
  echo "$kubernetes"
}

# The version that go.mod in the current folder pins, and how its programs are linked to say so.
kubernetes_version() { go list -m -f '{{.Version}}' k8s.io/kubernetes; }
kubernetes_ldflags() {
  local version minor at=k8s.io/component-base/version
  version=$(kubernetes_version)
  minor=${version#v1.}
  echo "-s -w -X $at.gitVersion=$version -X $at.gitMajor=1 -X $at.gitMinor=${minor%%.*}"
}

# The absolute path of the folder on the command line. It identifies the servers, as part of their command lines.
control_plane_dir() {
  [[ $# -eq 1 && -n $1 ]] || die "usage: ${0##*/} DIR"
  mkdir -p "$1"
  (cd "$1" && pwd -P)
}

# pid_of DIR SERVER: the content of its pid file, if any.
pid_of() { cat "$1/$2.pid" 2>/dev/null || true; }

# is_of DIR PID: whether this process is a server of DIR. Only the command line tells: the pid may have been reused, or
# belong to a zombie.
is_of() { [[ -n $2 && $(ps -ww -o args= -p "$2") == *"=$1/"* ]]; }

# running DIR SERVER: whether this server of DIR is running.
running() { is_of "$1" "$(pid_of "$1" "$2")"; }

# launch DIR SERVER PROGRAM FLAG...: starts it, in its own process group, or Ctrl-C in the terminal would stop etcd first.
launch() {
  local dir=$1 server=$2
  set -m
  "${@:3}" </dev/null >"$dir/$server.log" 2>&1 &
  set +m
  echo $! >"$dir/$server.pid"
  # Until exec it is a copy of this shell, which `running` does not recognize.
  while kill -0 $! 2>/dev/null && ! running "$dir" "$server"; do sleep 0.05; done
}

# failed DIR SERVER WHAT: ends the script with the end of the server's log.
failed() {
  tail -n 5 "$1/$2.log" >&2
  die "$2 $3; the lines above are the end of its log, $1/$2.log"
}

# stop DIR SERVER PID: returns when it has exited. Only the API server and etcd have something to finish; Argo Workflows, for one,
# does not end with SIGTERM.
stop() {
  local deadline=$((SECONDS + 15)) signal=KILL
  [[ $2 != kube-apiserver && $2 != etcd ]] || signal=TERM
  if is_of "$1" "$3"; then
    kill "-$signal" "$3" 2>/dev/null || true
    while is_of "$1" "$3"; do
      ((SECONDS < deadline)) || kill -KILL "$3" 2>/dev/null || true
      sleep 0.1
    done
  fi
  [[ $(pid_of "$1" "$2") != "$3" ]] || rm -f "$1/$2.pid"
}

# What uses the API server first, then the API server: it hangs without etcd. All pids are read before, because another
# run of the same test program may start new servers in DIR meanwhile.
stop_control_plane() {
  local file server i servers=() pids=()
  for file in "$1"/*.pid; do
    server=${file##*/} server=${server%.pid}
    [[ ! -e $file || $server == kube-apiserver || $server == etcd ]] || servers+=("$server")
  done
  servers+=(kube-apiserver etcd)
  for server in "${servers[@]}"; do pids+=("$(pid_of "$1" "$server")"); done
  for i in "${!servers[@]}"; do stop "$1" "${servers[i]}" "${pids[i]}"; done
}
