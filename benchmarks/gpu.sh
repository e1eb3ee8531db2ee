#!/usr/bin/env bash
# What one GPU makes of the flow and of whole generators, in at most eight minutes; needs this checkout, and a Python with its packages.
#   bash benchmarks/gpu.sh [FOLDER]        tables and JSON in FOLDER (default: results/benchmarks/gpu)
#   DEVICE=cpu bash benchmarks/gpu.sh      the same on a CPU with small sizes: does everything run?
# Libraries to compare with (zuko, nflows, normflows) that are not installed are left out, and named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
device=${DEVICE:-cuda}
out=${1:-results/benchmarks/gpu}
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$out"
if [ "$device" = cuda ]; then
    "$python" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())' ||
        { echo "no GPU that torch can use; DEVICE=cpu tries the script on a CPU" >&2; exit 1; }
    more=() dims=(50 368 504 6480) repeats=3 sample=5000 batches=(1 100 10000) geometries=(calogan calochallenge2 calochallenge3)
else
    dims=(50) repeats=1 sample=200 batches=(1 100) geometries=(calogan) more=(--skip memory)
fi
begin=$SECONDS
# training step and sampling of the RQS flow over its matrix products, beside other libraries; its inverse in float32 and bf16
timeout 240 "$python" benchmarks/flow_speed.py --device "$device" --dims "${dims[@]}" --repeats "$repeats" --sample "$sample" "${more[@]}" --out "$out" ||
    echo "flow_speed.py did not end within its time" >&2
# showers per second of generators, one at a time and in batches, and peak memory
left=$((470 - SECONDS + begin))
timeout "$left" "$python" benchmarks/cost.py --device "$device" --families vae_inn ring_cascade inn --geometries "${geometries[@]}" \
    --batches "${batches[@]}" --out "$out/cost.md" || echo "cost.py did not end within its time" >&2
echo "$((SECONDS - begin)) s; see $out"
