# What up, down and run share. Sourced, with $0 the script that the user called.
# shellcheck shell=bash

die() { echo "control-plane: $*" >&2; exit 1; }

# The folder named on the command line, absolute: it is by their folder that the servers are known.
control_plane_dir() {
  [[ $# -eq 1 && -n $1 ]] || die "usage: ${0##*/} DIR"
  mkdir -p "$1"
  (cd "$1" && pwd -P)
}

# running DIR SERVER: whether that server of DIR runs. Its pid may be another program's by now, and a
# dead process that nobody has collected has one too; only the command line tells.
running() {
  local pid
  pid=$(cat "$1/$2.pid" 2>/dev/null) && [[ $(ps -ww -o args= -p "$pid") == *"=$1/"* ]]
}

# stop DIR SERVER: returns when it is gone.
stop() {
  local pid deadline=$((SECONDS + 15))
  if running "$1" "$2"; then
    pid=$(cat "$1/$2.pid")
    kill "$pid" 2>/dev/null || true
    while running "$1" "$2"; do
      ((SECONDS < deadline)) || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.1
    done
  fi
  rm -f "$1/$2.pid"
}

# The API server first: without its etcd it hangs.
stop_control_plane() {
  stop "$1" kube-apiserver
  stop "$1" etcd
}
