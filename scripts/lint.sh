#!/bin/sh
# What a formatter cannot see: the rules that keep the sidecar small and the repository clean.
set -eu
cd "$(dirname "$0")/.."
status=0

# One full Foundation in the sidecar's graph costs 44 MB.
for module in SessionModel Processes Journal AgentHost Agents Workspace HTTPServing TranscriptServing Rendering Sidecar DemoAgent; do
  if grep -rnE '^[[:space:]]*((public|internal|package|private|fileprivate|@[a-zA-Z]+)[[:space:]]+)*import Foundation$' "Sources/$module"; then
    echo "lint: $module is part of the sidecar: import FoundationEssentials instead" >&2
    status=1
  fi
done

# Only the sidecar's shell may sleep or read the clock: the machines in SessionModel are pure.
if grep -rnE '\b(Task\.sleep|clock_gettime|ContinuousClock|await |Date\(\))' Sources/SessionModel; then
  echo "lint: SessionModel is pure: no await, no clock, no I/O" >&2
  status=1
fi

if git ls-files | grep -E '(^|/)(\.build|Package\.resolved|build)(/|$)'; then
  echo "lint: build output must not be committed" >&2
  status=1
fi
exit $status
