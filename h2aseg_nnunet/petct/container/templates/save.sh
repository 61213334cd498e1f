#!/bin/sh
# Pack what is uploaded.
set -eu
cd "$(dirname "$0")"
"${ENGINE:-docker}" save "${TAG:-{{ tag }}}" | gzip -c > {{ tag }}.tar.gz
{% if not inside %}
tar -czf model.tar.gz -C model .
{% endif %}
ls -l ./*.tar.gz
