# Runs the commands of a document in their order, as a reader would type them, in the current folder and
# with the environment as it is. Sourced, by a script that runs with `set -euo pipefail`.
# shellcheck shell=bash
#
#   ```sh        runs as a whole
#   ```console   a line that begins with `$ ` is a command, together with those that it goes on in: after a
#                backslash, within single quotes, up to an END. The others are what it prints. A line of
#                `...` stands for any lines; blanks, ages, times and uids may differ
#   ```yaml      if it is of our group, the API server has to accept it (nothing is created)
#   ```mermaid   and ```promql: nothing to run
#
# A comment in the line before a block changes that:
#   <!-- not run: WHY -->        <!-- output of: COMMAND -->        <!-- same as: FILE -->
#   <!-- has to fail -->         each command of the block has to
#   <!-- commands of: COMMAND -->    each line is a command that COMMAND, a script of the repository, runs: it prints it after a
#                                    `$ `, in the order of the block. What follows ` # ` is a remark
#
# `at` is where it is, and the file `printed` has what the last command printed. COMMAND runs once, however many blocks are of it.

at=
has_to_fail=
: "${root:?the folder of the repository}"

# What differs from run to run.
plain() {
  sed -E -e 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/UID/g' \
    -e 's/[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}(\.[0-9]+)?Z/TIME/g' \
    -e 's/(^|[[:blank:]])[0-9]+[smh]([0-9]+s)?([[:blank:]]|$)/ AGE /g' \
    -e 's/[[:blank:]]+/ /g' -e 's/^ //' -e 's/ $//'
}

# printed_as WANTED: whether the file `printed` is that.
printed_as() {
  local line pattern='' printed
  printed=$(plain <printed; echo .)
  while IFS= read -r line; do
    if [[ $line == ... ]]; then
      pattern+='*'
    else
      # A pattern of this very text.
      # shellcheck disable=SC2001
      pattern+=$(sed 's/[^[:alnum:] ]/\\&/g' <<<"$line")$'\n'
    fi
  done < <([[ -z $1 ]] || plain <<<"$1")
  # shellcheck disable=SC2053
  [[ $printed == $pattern. ]] && return
  echo "dev/check/${0##*/}: $at should print (< ${at%:*}, > printed)" >&2
  diff <(plain <<<"$1") <(plain <printed) >&2 || true
  return 1
}

# whether the file `printed` has each line of BLOCK as a command, in that order.
has_commands() { # BLOCK
  local line from=1 found
  while IFS= read -r line; do
    line=$(sed -E 's/[[:blank:]]+# .*$//' <<<"$line")
    [[ -n $line ]] || continue
    found=$(tail -n "+$from" printed | grep -nxF -m1 -e "\$ $line" | cut -d: -f1) || true
    if [[ -z $found ]]; then
      echo "dev/check/${0##*/}: $at: it does not run this, or not in this order: $line" >&2
      return 1
    fi
    from=$((from + found))
  done <<<"$1"
}

# Leaves what a script of the repository prints in the file `printed`.
output_of() { # COMMAND
  local kept=printed-by-${1//[^[:alnum:]]/-}
  if [[ ! -f $kept ]]; then
    "$root/$1" >printed 2>printed.err || { cat printed.err >>printed; return 1; }
    cp printed "$kept"
  fi
  cp "$kept" printed
}

# Not called where a failure is looked at, so that each failing line of a block ends the script.
run() { # COMMANDS
  printf '%s\n' "$1" | sed 's/^/  /'
  if [[ -z $has_to_fail ]]; then
    eval "$1" </dev/null >printed 2>&1
  elif (eval "$1") </dev/null >printed 2>&1; then
    echo "dev/check/${0##*/}: $at has to fail" >&2
    return 1
  fi
}

console() { # BLOCK
  local line command='' wanted='' heredoc='' quotes
  while IFS= read -r line; do
    if [[ -n $heredoc ]]; then
      command+=$'\n'$line
      [[ $line != END ]] || heredoc=
      continue
    fi
    quotes=${command//[!\']/}
    if [[ -z $wanted ]] && [[ $command == *\\ || $((${#quotes} % 2)) -eq 1 ]]; then
      command+=$'\n'$line
      continue
    fi
    case $line in
      '$ '*)
        finish
        command=${line#'$ '} wanted=
        [[ $line != *"<<'END'"* ]] || heredoc=yes
        ;;
      *) wanted+=$line$'\n' ;;
    esac
  done <<<"$1"
  finish
}
finish() {
  if [[ -n $command ]]; then
    run "$command"
    printed_as "${wanted%$'\n'}"
  fi
}

block() { # LANGUAGE DIRECTIVE TEXT
  local has_to_fail=
  if [[ $2 == 'has to fail' ]]; then
    has_to_fail=yes
    set -- "$1" '' "$3"
  fi
  case $2 in
    'not run: '?*) echo "  ($2)" ;;
    'output of: '*)
      output_of "${2#output of: }"
      printed_as "$3"
      ;;
    'commands of: '*)
      output_of "${2#commands of: }"
      has_commands "$3"
      ;;
    'same as: '*) diff <(echo "$3") <(grep -v '^#' "${2#same as: }") ;;
    '')
      case $1 in
        sh) run "$3" ;;
        console) console "$3" ;;
        yaml)
          if [[ $3 == 'apiVersion: aiapi.dev/'* ]]; then
            kubectl apply --dry-run=server -f - <<<"$3" >printed 2>&1
          fi
          ;;
        mermaid | promql) ;;
        *) echo "dev/check/${0##*/}: $at: what to do with a block of '$1'?" >&2; return 1 ;;
      esac
      ;;
    *) echo "dev/check/${0##*/}: $at: what is '$2'?" >&2; return 1 ;;
  esac
}

run_document() { # FILE, in the repository
  local number=0 language='' directive='' previous='' text='' line
  while IFS= read -r line <&3; do
    number=$((number + 1))
    if [[ -z $language && $line == '```'?* ]]; then
      language=${line#'```'} at=$1:$number text=
      [[ $previous =~ ^'<!-- '(.*)' -->'$ ]] && directive=${BASH_REMATCH[1]} || directive=
    elif [[ -n $language && $line == '```' ]]; then
      echo "$at"
      block "$language" "$directive" "${text%$'\n'}"
      language=
    elif [[ -n $language ]]; then
      text+=$line$'\n'
    fi
    previous=$line
  done 3<"$root/$1"
  [[ -z $language ]] || { echo "dev/check/${0##*/}: the last block of $1 does not end" >&2; return 1; }
  echo "$1: all as it says"
}
