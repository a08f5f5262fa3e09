#!/usr/bin/env bash
# Prints the path of a Python that is new enough for every agent (3.13). Where the system has none it is built once under the cache
# folder, from the source package of a later Debian; the system itself is not changed.
set -euo pipefail
cd "$(dirname "$0")/.."

home=${XDG_CACHE_HOME:-$HOME/.cache}/holdfast/python
for python in python3.14 python3.13 python3 "$home/bin/python3.13"; do
  if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 13))' 2>/dev/null; then
    command -v "$python"
    exit
  fi
done

# A list of sources of its own, at the mirror that the system has.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
[ -n "$mirror" ] || { echo "no Debian mirror is known to apt" >&2; exit 1; }
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
echo "deb-src $mirror trixie main" >"$work/sources.list"
apt=(apt-get -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$work/lists"
  -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
scripts/deps.sh build-essential libbz2-dev libffi-dev liblzma-dev libssl-dev xz-utils >&2
(
  cd "$work"
  "${apt[@]}" update
  "${apt[@]}" source --download-only python3.13
  tar -xf python3.13_*.orig.tar.xz
  cd Python-3.13*
  ./configure -q --prefix="$home" --disable-test-modules --without-static-libpython
  make -s -j"$(nproc)"
  rm -rf "$home"
  make -s altinstall
) >"$work/log" 2>&1 || { tail -n 3 "$work/log" >&2; exit 1; }
echo "$home/bin/python3.13"
