#!/usr/bin/env bash
# What only a CUDA card can show, in at most 9 minutes of an H100: bash benchmarks/gpu_check.sh OUT [--quick]
#
# Needs no network. Install beforehand, for instance from a folder of wheels (pip download -d wheels ".[test]"):
# this package with its requirements (torch for CUDA with its triton, nnunetv2) and pytest, hypothesis.
# Results appear in OUT one by one, the most important first; a run that is cut off leaves what it has found.
# --quick runs the same on a CPU with a small plan and without the tests that need a card: its figures mean nothing.
set -u
out=${1:?"usage: bash benchmarks/gpu_check.sh OUT [--quick]"}
quick=${2:-}
cd "$(dirname "$0")/.." && mkdir -p "$out" || exit 1
python=${PYTHON:-python}
failed=0

step() { # NAME SECONDS COMMAND ...: output on the screen and in OUT/NAME.txt, line by line
    local name=$1 limit=$2
    shift 2
    echo "== $name, at most $limit s: $*"
    PYTHONUNBUFFERED=1 timeout "$limit" "$@" 2>&1 | tee "$out/$name.txt"
    local status=${PIPESTATUS[0]}
    echo "== $name: exit $status" | tee -a "$out/$name.txt"
    [ "$status" -eq 0 ] || failed=1
}

nvidia-smi 2>/dev/null | tee "$out/card.txt"
if [ "$quick" = --quick ]; then
    step test_compiled 600 "$python" -m pytest -v -s tests/integration/test_compile.py -k "no_graph_break"
    budget=(600 600 600) options=(--quick --rounds 1)
else
    step test_compiled 120 "$python" -m pytest -m gpu -v -s tests/integration/test_compile.py
    step test_gpu 90 "$python" -m pytest -m gpu -v -s tests --ignore tests/integration/test_compile.py
    budget=(150 90 90) options=(--rounds 5)
fi
step steps "${budget[0]}" "$python" -m benchmarks.gpu -o "$out/gpu.json" --only steps "${options[@]}"
step predictions "${budget[1]}" "$python" -m benchmarks.gpu -o "$out/gpu.json" --only predictions "${options[@]}"
step planned "${budget[2]}" "$python" -m benchmarks.gpu -o "$out/gpu.json" --only planned "${options[@]}"
exit $failed
