#!/bin/sh
# Build the image; further arguments go to the build, for instance --build-arg BASE=IMAGE: see README.md.
set -eu
cd "$(dirname "$0")"
exec "${ENGINE:-docker}" build --tag "${TAG:-{{ tag }}}" --file Dockerfile "$@" .
