#!/usr/bin/env bash
# Compares the sidecar with docs/openapi.yaml: schemathesis sends valid and invalid requests of every kind to a real one, and looks
# whether the answers are what the document promises. It is installed into a virtual environment under the cache folder, once; where
# that is not possible the comparison is skipped, and says why.
#   SECONDS_OF_SEARCH=45   how long at most
#   SEED=1                 where it begins
set -uo pipefail
cd "$(dirname "$0")/.."

version=4.32.5
sidecar=${BUILD:-.build/debug}/holdfast-sidecar
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

root=$PWD
work=$(mktemp -d /tmp/hff.XXXXXX)
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$work"' EXIT
(umask 077 && head -c 24 /dev/urandom | base64 >"$work/token")
"$sidecar" serve --state-dir "$work/state" --socket "$work/s" --listen 127.0.0.1:0 --token-file "$work/token" 2>"$work/log" &
server=$!
port=""
for _ in $(seq 200); do
  port=$(grep -o ' port=[0-9]*' "$work/log" | tail -n 1 | cut -d= -f2)
  [ -z "$port" ] || break
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.05
done

# It keeps its findings in the working directory.
cd "$work" || exit
compare() {
  "$cache/bin/schemathesis" --config-file "$root/scripts/fuzz-api.toml" run "$root/docs/openapi.yaml" \
    --url "http://127.0.0.1:$port" --header "Authorization: Bearer $(cat token)" --phases examples,coverage,fuzzing \
    --request-timeout 10 --no-color --seed "${SEED:-1}" "$@" >report 2>&1 || { cat report; return 1; }
}
# Other limits, such as prompts of at most one byte, and a drain would have the rest refused: they come last.
compare --exclude-operation-id setLimits --exclude-operation-id drain --max-time "${SECONDS_OF_SEARCH:-45}" &&
  compare --include-operation-id setLimits --include-operation-id drain --max-time 10
status=$?
kill "$server"
wait "$server"
ended=$?
[ "$ended" -eq 0 ] || { tail -n 20 log; echo "fuzz-api: the sidecar ended with $ended"; status=1; }
[ "$status" -ne 0 ] || echo "fuzz-api: the sidecar does what docs/openapi.yaml says"
exit "$status"
