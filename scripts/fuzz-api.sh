#!/usr/bin/env bash
# Compares the sidecar with docs/openapi.yaml and the supervisor with docs/openapi-supervisor.yaml: schemathesis sends valid and invalid
# requests of every kind to real ones, and looks whether the answers are what the documents promise. It is installed into a virtual
# environment under the cache folder, once; where that is not possible the comparison is skipped, and says why.
#   SECONDS_OF_SEARCH=45   how long at most, for each of the two
#   SEED=1                 where it begins
set -uo pipefail
cd "$(dirname "$0")/.."

version=4.32.5
root=$PWD
build=$(cd "${BUILD:-.build/debug}" && pwd) || exit
cache=${XDG_CACHE_HOME:-$HOME/.cache}/holdfast/schemathesis-$version
if [ ! -f "$cache/.installed" ]; then
  python3 -c 'import ensurepip, venv' 2>/dev/null || scripts/deps.sh python3-venv
  rm -rf "$cache"
  if ! reason=$(python3 -m venv "$cache" 2>&1 &&
    "$cache/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version" 2>&1); then
    echo "fuzz-api: skipped, because schemathesis cannot be installed: $(printf '%s' "$reason" | tail -n 1)"
    exit 0
  fi
  touch "$cache/.installed"
fi

work=$(mktemp -d /tmp/hff.XXXXXX)
server=""
# Whatever a server leaves behind has this directory in its arguments.
clear() {
  [ -z "$server" ] || { kill "$server"; wait "$server"; } 2>/dev/null
  for process in $(pgrep -f -- "$work/"); do kill -KILL "$process" 2>/dev/null; done
  rm -rf "$work"
}
trap clear EXIT
(umask 077 && head -c 24 /dev/urandom | base64 | tee "$work/secret" >"$work/token")
# schemathesis keeps its findings in the working directory.
cd "$work" || exit
time=${SECONDS_OF_SEARCH:-45}

# until_told FILE PATTERN: what a server that starts writes there.
until_told() {
  local told=""
  for _ in $(seq 200); do
    told=$(grep -o "$2" "$1" 2>/dev/null | tail -n 1)
    [ -z "$told" ] || { echo "$told"; return; }
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
  done
  cat log >&2
  return 1
}

# compare NAME DOCUMENT URL TOKEN-FILE …
# What it calls health checks is about how well it finds requests, not about the server.
compare() {
  local name=$1 document=$2 url=$3 token=$4
  shift 4
  "$cache/bin/schemathesis" --config-file "$root/scripts/fuzz-$name.toml" run "$root/docs/$document" --url "$url" \
    --header "Authorization: Bearer $(cat "$token")" --phases examples,coverage,fuzzing --request-timeout 10 --no-color \
    --seed "${SEED:-1}" --suppress-health-check all "$@" >report 2>&1 || { cat report; return 1; }
}

# finish NAME DOCUMENT STATUS: ends the server, which must be there, and must end well.
finish() {
  local status=$3
  kill "$server"
  wait "$server"
  local ended=$?
  server=""
  [ "$ended" -eq 0 ] || { tail -n 40 log; echo "fuzz-api: the $1 ended with $ended"; status=1; }
  # A host that has lost its sidecar ends by itself, in a moment.
  for _ in $(seq 50); do pgrep -f -- "$work/" >/dev/null || break; sleep 0.1; done
  if pgrep -fa -- "$work/"; then tail -n 40 log; echo "fuzz-api: the $1 has left these processes"; status=1; fi
  [ "$status" -ne 0 ] || echo "fuzz-api: the $1 does what docs/$2 says"
  return "$status"
}

sidecar() {
  "$build/holdfast-sidecar" serve --state-dir "$work/state" --socket "$work/s" --listen 127.0.0.1:0 --token-file "$work/token" 2>log &
  server=$!
  local port
  port=$(until_told log ' port=[0-9]*') || return
  local of=(sidecar openapi.yaml "http://127.0.0.1:${port#*=}" token)
  # Other limits, such as prompts of at most one byte, and a drain would have the rest refused: they come last.
  compare "${of[@]}" --exclude-operation-id setLimits --exclude-operation-id drain --max-time "$time" &&
    compare "${of[@]}" --include-operation-id setLimits --include-operation-id drain --max-time 10
  finish sidecar openapi.yaml $?
}

supervisor() {
  mkdir bin run
  # In an empty PATH there is neither a shell nor git: of all that a Task may ask for, only the demonstration agent runs, and nothing goes
  # to the network.
  env -i PATH="$work/bin" HOME="$work" TMPDIR="$work" XDG_RUNTIME_DIR="$work/run" "$build/holdfast-supervisor" serve \
    --data-dir "$work/data" --listen 127.0.0.1:0 --default-agent demo --stop-sessions-on-exit \
    --github-webhook-secret secret --github-token token --github-api http://127.0.0.1:9 2>log &
  server=$!
  local url
  url=$(until_told log 'url=http:[^ ]*') || return
  local of=(supervisor openapi-supervisor.yaml "${url#*=}" data/token)
  # Requests of every kind, most of which are for sessions that there are not; then valid ones for some that live. The paths of git
  # gateways are a cluster's.
  compare "${of[@]}" --exclude-path-regex '^/v1/git-gateway/' --max-time "$((time * 5 / 9))" &&
    SCHEMATHESIS_HOOKS="$root/scripts/fuzz_sessions.py" compare "${of[@]}" --include-path-regex '^/v1/(tasks|sessions)' \
      --mode positive --max-time "$((time * 4 / 9))"
  finish supervisor openapi-supervisor.yaml $?
}

sidecar && supervisor
