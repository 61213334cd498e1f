#!/bin/sh
# Run the image on test/input as grand-challenge does: no network, no rights, nothing writable but /output and /tmp.
# Arguments go to the run, for instance --gpus=all.
set -eu
cd "$(dirname "$0")"
output=test/output
rm -rf "$output" && mkdir -p "$output" && chmod 777 "$output"
"${ENGINE:-docker}" run --rm \
    --network=none --cap-drop=ALL --security-opt=no-new-privileges --read-only \
    --shm-size=64m --tmpfs=/tmp:rw,size=4g \
{% if interface.memory_gb %}
    ${MEMORY---memory={{ interface.memory_gb }}g} \
{% endif %}
    --volume="$PWD/test/input:/input:ro" --volume="$PWD/$output:/output:rw" \
{% if not inside %}
    --volume="$PWD/model:/opt/ml/model:ro" \
{% endif %}
    "$@" "${TAG:-{{ tag }}}" --strict
test -s "$output/{{ expected }}" && test "$(find "$output" -name '*.mha' | wc -l)" -eq 1
{% for name in interface.others %}
test -s "$output/{{ name }}"
{% endfor %}
echo "one mask: $output/{{ expected }}"
