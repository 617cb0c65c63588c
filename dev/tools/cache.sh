# Tools of fixed versions, installed once into a cache. Sourced.
# shellcheck shell=bash

cache=${XDG_CACHE_HOME:-$HOME/.cache}/ai-api-operator
shopt -s inherit_errexit

# need TOOL WHY HOW COMMAND...: reports the tool as missing if COMMAND fails. `all_found` then ends the script.
missing=
need() {
  "${@:4}" >/dev/null 2>&1 && return
  echo "$1 is missing: $2; $3" >&2
  missing=yes
}
all_found() { [[ -z $missing ]] || exit 1; }
need_go() { # WHY
  need go "$1" "install Go 1.26 or newer from https://go.dev/dl" command -v go
}
need_python() { # WHY
  need "python3 (3.10 or newer, with venv)" "$1" \
    "install it from https://www.python.org (Debian, Ubuntu: apt install python3 python3-venv)" \
    python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))'
}

# key FILE...: changes when one of the files changes.
key() { cat "$@" | cksum | tr -d ' '; }

# cached FOLDER DURATION COMMAND...: prints $cache/FOLDER. If it does not exist, COMMAND fills it first. The last argument of COMMAND is
# a staging folder, which gets its final name only when complete, so an interrupted installation never looks finished.
cached() {
  local folder=$cache/$1 start=$SECONDS
  if [[ ! -d $folder ]]; then
    echo "dev/tools: installing $1 into $cache, once; this takes $2" >&2
    mkdir -p "${folder%/*}"
    staging=$(mktemp -d "${folder%/*}/installing.XXXXXX")
    trap 'rm -rf "$staging"' EXIT
    "${@:3}" "$staging" >&2
    # Another run may have been faster; both install the same.
    [[ -d $folder ]] || mv "$staging" "$folder"
    echo "dev/tools: installed in $((SECONDS - start)) s" >&2
  fi
  echo "$folder"
}

# build_go PACKAGE FOLDER: builds a program of the Go module in the current folder.
build_go() { CGO_ENABLED=0 go build -trimpath -o "$2/" "$1"; }

# install_python REQUIREMENTS FOLDER: a virtual environment with exactly these packages.
install_python() {
  python3 -m venv "$2"
  "$2/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$1"
}

# cargo_tool NAME VERSION DURATION: prints its program.
cargo_tool() {
  local folder
  folder=$(cached "$1-$2" "$3" cargo install --quiet --locked "$1@$2" --root)
  echo "$folder/bin/$1"
}
