#!/bin/sh
# build.sh [IMAGE…]: container images as archives in build/images, which `docker load`, `podman load`, `ctr images import` and skopeo
# read. It needs no registry and no daemon: the base is made from Debian's packages.
#
# Elsewhere the same files do with docker, which takes its base from a registry:
#   CONTEXTS=1 images/build.sh; docker build -f images/sidecar.Containerfile build/images/context/sidecar
set -eu
cd "$(dirname "$0")/.."

known="sidecar supervisor agent-demo agent-claude"
chosen=${*:-$known}
tag=${TAG:-dev}
out=build/images
claude=claude-agent-sdk==0.2.189
version=$(sed -n 's/.*current = "\(.*\)".*/\1/p' Sources/Sidecar/Version.swift)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

# program NAME IMAGE: builds a program and puts it into the image's context, without its symbols.
program() {
  scripts/release.sh "$1"
  strip -o "$out/context/$2/$1" ".build-release/release/$1"
}

context() {
  mkdir -p "$out/context/$1"
  case $1 in
  sidecar)
    program holdfast-sidecar sidecar
    # There is no loader and no library: a program that wants them would not start.
    if readelf --program-headers "$out/context/sidecar/holdfast-sidecar" | grep -q INTERP; then
      echo "images: holdfast-sidecar is not static: $(ldd "$out/context/sidecar/holdfast-sidecar" | tr -s '\n\t' ' ')" >&2
      exit 1
    fi
    ;;
  supervisor) program holdfast-supervisor supervisor ;;
  agent-demo) program holdfast-demo-agent agent-demo ;;
  agent-claude)
    python3 -c 'import ensurepip, venv' 2>/dev/null || scripts/deps.sh python3-venv
    [ -x "$out/venv/bin/pip" ] || python3 -m venv "$out/venv"
    "$out/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$out/claude" --upgrade $claude
    cp "$out/claude/claude_agent_sdk/_bundled/claude" "$out/context/agent-claude/claude"
    chmod 755 "$out/context/agent-claude/claude"
    ;;
  *)
    echo "images: there is no image $1; there are: $known" >&2
    exit 2
    ;;
  esac
}

for image in $chosen; do context "$image"; done
[ -z "${CONTEXTS:-}" ] || exit 0

command -v buildah >/dev/null && command -v mmdebstrap >/dev/null || scripts/deps.sh buildah mmdebstrap

# The images are put together in a store of their own, which goes at the end.
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
buildah() { command buildah --root "$store/images" --runroot "$store/run" --storage-driver vfs "$@"; }

base() {
  if [ ! -f "$out/base.tar" ]; then
    mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/locale/*' \
      --include=ca-certificates,curl,git,jq,less,libcurl4,libsqlite3-0,libstdc++6,openssh-client,procps,ripgrep \
      bookworm "$out/base.new.tar" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
    mv "$out/base.new.tar" "$out/base.tar"
  fi
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$out/base.tar" / >/dev/null
  buildah commit --quiet --rm "$container" localhost/holdfast-base >/dev/null
}

# limit IMAGE: the most bytes that it may have.
limit() {
  case $1 in
  sidecar) echo 31457280 ;; # 30 MiB
  supervisor) echo 120000000 ;;
  *) echo 2000000000 ;;
  esac
}

# contents ARCHIVE: every file in its layers.
contents() {
  for layer in $(tar -xOf "$1" manifest.json | jq -r '.[0].Layers[]'); do tar -xOf "$1" "$layer" | tar -t; done
}

[ "$chosen" = sidecar ] || base
for image in $chosen; do
  name=holdfast-$image
  buildah build --quiet --isolation chroot --pull-never --timestamp "$epoch" --format docker \
    --build-arg BASE=localhost/holdfast-base --label "org.opencontainers.image.version=$version" \
    --label "org.opencontainers.image.revision=$revision" \
    --label "org.opencontainers.image.created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)" \
    --file "images/$image.Containerfile" --tag "$name:$tag" "$out/context/$image" >/dev/null
  rm -f "$out/$name.tar"
  buildah push --quiet "localhost/$name:$tag" "docker-archive:$out/$name.tar:$name:$tag"
  size=$(stat -c %s "$out/$name.tar")
  echo "images: $out/$name.tar ($name:$tag, $((size / 1000000)) MB)"
  if [ "$size" -ge "$(limit "$image")" ]; then
    echo "images: $name has $size bytes, and the limit is $(limit "$image"): has something imported all of Foundation?" >&2
    exit 1
  fi
  if [ "$image" = sidecar ] && [ "$(contents "$out/$name.tar")" != holdfast-sidecar ]; then
    echo "images: $name holds more than its program: $(contents "$out/$name.tar" | tr '\n' ' ')" >&2
    exit 1
  fi
done
