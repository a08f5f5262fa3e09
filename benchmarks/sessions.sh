#!/bin/sh
# Measures how the supervisor keeps 100, 1,000 and 10,000 sessions, with simulated sidecars, and what a cluster costs it, and prints one
# Markdown table. About six minutes after the build.
set -eu
cd "$(dirname "$0")/.."

scripts/release.sh holdfast-bench-sessions
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
timeout 900 .build-release/release/holdfast-bench-sessions "$work"
