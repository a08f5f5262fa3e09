#!/bin/sh
# Writes container images as archives that `docker load`, `podman load`, `ctr images import` and skopeo read. It needs no
# registry and no container tool: an image from scratch is a tar of its files, and two JSON documents.
#
# Only the sidecar's image is made so far; those of the supervisor and of the agents come with the Kubernetes runtime.
set -eu
cd "$(dirname "$0")/.."

name=holdfast-sidecar
tag=${TAG:-dev}
most=31457280 # 30 MB
out=build/images
version=$(sed -n 's/.*current = "\(.*\)".*/\1/p' Sources/Sidecar/Version.swift)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
created=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}" +%Y-%m-%dT%H:%M:%SZ)
case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) architecture=$(uname -m) ;;
esac

scripts/release.sh $name

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root" "$work/image" $out
strip -o "$work/root/$name" .build-release/release/$name
chmod 755 "$work/root" "$work/root/$name"

# The image has no loader and no libraries: a program that wants them would not start.
if readelf --program-headers "$work/root/$name" | grep -q INTERP; then
  echo "images: $name is not static: $(ldd "$work/root/$name" | tr -s '\n\t' ' ')" >&2
  exit 1
fi
size=$(stat -c %s "$work/root/$name")
if [ "$size" -ge $most ]; then
  echo "images: $name has $size bytes, and the limit is $most: has something imported all of Foundation?" >&2
  exit 1
fi

# The same files give the same archive.
pack() { tar --create --sort=name --mtime="$created" --owner=0 --group=0 --numeric-owner --format=ustar "$@"; }

pack --directory "$work/root" $name >"$work/image/layer.tar"
layer=$(sha256sum "$work/image/layer.tar" | cut -d' ' -f1)
mkdir "$work/image/$layer"
mv "$work/image/layer.tar" "$work/image/$layer/layer.tar"

jq --null-input --sort-keys --compact-output \
  --arg name $name --arg layer "sha256:$layer" --arg architecture "$architecture" --arg created "$created" \
  --arg version "$version" --arg revision "$revision" '
  {
    architecture: $architecture, os: "linux", created: $created,
    config: {
      User: "65532:65532",
      Entrypoint: ["/\($name)"],
      WorkingDir: "/",
      Labels: {
        "org.opencontainers.image.title": $name,
        "org.opencontainers.image.description": "The Holdfast sidecar: queue, transcript and agent of one session",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.version": $version,
        "org.opencontainers.image.revision": $revision,
        "org.opencontainers.image.created": $created
      }
    },
    rootfs: {type: "layers", diff_ids: [$layer]},
    history: [{created: $created, created_by: "images/build.sh", comment: "from scratch"}]
  }' >"$work/config.json"
config=$(sha256sum "$work/config.json" | cut -d' ' -f1)
mv "$work/config.json" "$work/image/$config.json"
jq --null-input --compact-output --arg config "$config.json" --arg tag "$name:$tag" --arg layer "$layer/layer.tar" \
  '[{Config: $config, RepoTags: [$tag], Layers: [$layer]}]' >"$work/image/manifest.json"
pack --directory "$work/image" . >$out/$name.tar

echo "images: $out/$name.tar ($name:$tag, static, $((size / 1000000)) MB)"
echo "images: the supervisor's and the agents' images are not built yet; they come with the Kubernetes runtime"
