#!/bin/sh
# Installs the Debian packages that are missing, those named as arguments too, and says so when it cannot.
set -eu

missing=""
for package in binutils git curl jq make pkg-config procps python3 libcurl4-openssl-dev libsqlite3-dev zlib1g-dev "$@"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
command -v swift >/dev/null || {
  echo "deps: Swift 6.2 or newer is not installed; see https://www.swift.org/install/linux/" >&2
  exit 1
}
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "deps: missing packages, and neither root nor sudo to install them. Run as root: apt-get install$missing" >&2
    exit 1
  }
  as_root="sudo"
fi
command -v apt-get >/dev/null || {
  echo "deps: this is not a Debian machine; install the equivalents of:$missing" >&2
  exit 1
}
echo "deps: installing$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of package names
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
