#!/usr/bin/env bash
# Runs every test target in a process of its own: the suites start, adopt and end processes, and must not meet each other's.
# TESTS="JournalTests CurlTests" runs only those.
set -uo pipefail
cd "$(dirname "$0")/.."
[ -n "${HOLDFAST_LONG:-}" ] || unset HOLDFAST_LONG
# Of one target, in seconds.
limit=${TEST_TIMEOUT:-$([ -n "${HOLDFAST_LONG:-}" ] && echo 3600 || echo 900)}

targets=${TESTS:-$(ls -d Tests/*Tests | xargs -n1 basename)}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 broken=""
for target in $targets; do
  start=$SECONDS
  timeout --kill-after=10 "$limit" \
    "${SWIFT:-swift}" test --skip-build --filter "^$target\\." >"$log" 2>&1
  status=$?
  # Not the last line, "Test run with 12 tests …".
  ok=$(grep -vE '^. Test run ' "$log" | grep -cE '^✔ Test .* passed')
  bad=$(grep -vE '^. Test run ' "$log" | grep -cE '^✘ Test .* failed')
  if [ "$status" -ne 0 ]; then
    broken="$broken $target"
    [ "$bad" -gt 0 ] || bad=1
    cat "$log"
  fi
  passed=$((passed + ok)) failed=$((failed + bad))
  printf '%-20s %4d passed %3d failed  %ds\n' "$target" "$ok" "$bad" "$((SECONDS - start))"
done
[ -z "$broken" ] || echo "failed:$broken"
echo "$passed passed, $failed failed"
[ -z "$broken" ]
