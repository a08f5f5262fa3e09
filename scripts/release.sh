#!/bin/sh
# release.sh PRODUCT…: optimised builds of the products, in .build-release/release.
# The Swift runtime is linked in; holdfast-sidecar is one static file (Package.swift says -static-executable). What libraries have in C
# is built for size, and so that the linker can leave out every function that nobody calls.
set -eu
cd "$(dirname "$0")/.."

for product; do
  # shellcheck disable=SC2086 # options
  ${SWIFT:-swift} build -c release --scratch-path .build-release --static-swift-stdlib --product "$product" \
    -Xcc -Os -Xcc -ffunction-sections -Xcc -fdata-sections ${SWIFTFLAGS:-} >&2
done
