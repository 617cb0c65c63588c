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

# stop DIR SERVER PID: returns when it has exited.
stop() {
  local deadline=$((SECONDS + 15))
  if is_of "$1" "$3"; then
    kill "$3" 2>/dev/null || true
    while is_of "$1" "$3"; do
      ((SECONDS < deadline)) || kill -KILL "$3" 2>/dev/null || true
      sleep 0.1
    done
  fi
  [[ $(pid_of "$1" "$2") != "$3" ]] || rm -f "$1/$2.pid"
}

# The API server first: it hangs without etcd. Both pids are read before, because another run of the same test program
# may start new servers in DIR meanwhile.
stop_control_plane() {
  local apiserver etcd
  apiserver=$(pid_of "$1" kube-apiserver)
  etcd=$(pid_of "$1" etcd)
  stop "$1" kube-apiserver "$apiserver"
  stop "$1" etcd "$etcd"
}
