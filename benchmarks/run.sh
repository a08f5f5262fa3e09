#!/bin/sh
# Builds the release binaries, measures them, and prints one Markdown table. About two minutes after the build.
#   BENCH_DIR   where to write; the file system of this directory is what is measured (default: build/bench)
#   BENCH_ARGS  further options, such as --only enqueue-unix-64,sidecar --seconds 2; a wrong one lists them
set -eu
cd "$(dirname "$0")/.."

scripts/release.sh holdfast-sidecar holdfast-supervisor holdfast-bench
directory=${BENCH_DIR:-build/bench}
mkdir -p "$directory"
# A Unix socket's path has at most 108 bytes, so a directory with a long name is used by a short one.
short=$(mktemp -d /tmp/hfb.XXXXXX)
work=$(mktemp -d "$directory/run.XXXXXX")
ln -s "$(realpath "$work")" "$short/d"
trap 'rm -rf "$short" "$work"' EXIT
strip -o "$work/holdfast-sidecar" .build-release/release/holdfast-sidecar

echo "$(uname -sr), $(nproc) cores ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)), $(stat -f -c %T "$work"), load $(cut -d' ' -f1 /proc/loadavg) at the start"
echo
# shellcheck disable=SC2086 # options
timeout 360 .build-release/release/holdfast-bench --sidecar "$short/d/holdfast-sidecar" --supervisor "$PWD/.build-release/release/holdfast-supervisor" \
  --directory "$short/d" ${BENCH_ARGS:-}
