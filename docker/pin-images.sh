#!/usr/bin/env bash
# Pins the images that Dockerfile and docker-compose.yml name by their digests, as the registries
# have them now: name:version becomes name:version@sha256:…, and an older digest is replaced.
#
# Needs docker with buildx, and a way to the registries. Build and test before you commit the change.
set -euo pipefail
cd "$(dirname "$0")/.."

files=(Dockerfile docker-compose.yml)
# Stages of the Dockerfile and the image that compose builds have no version.
images=$(sed -nE 's/^(FROM|[[:space:]]+image:( &[a-z-]+)?) ([^ @]+:[^ @]+)(@sha256:[0-9a-f]{64})?( .*)?$/\3/p' "${files[@]}" | sort -u)

pins=()
for image in $images; do
    digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
    if ! [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
        echo "docker/pin-images.sh: the registry of $image gave no digest: $digest" >&2
        exit 1
    fi
    echo "$image@$digest"
    pins+=(-e "s#$image(@sha256:[0-9a-f]{64})?( |\$)#$image@$digest\\2#")
done
# Nothing is written before every digest is known.
sed -Ei "${pins[@]}" "${files[@]}"
