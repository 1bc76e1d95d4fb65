#!/usr/bin/env bash
# Everything that needs a GPU, in one command and under nine minutes: builds the extension, compares
# every operation with the reference, runs small cases under compute-sanitizer, times.
#
#     bash bench/gpu_check.sh [folder]        # results; bench/results/gpu unless given
#
# Needs no network: Python with NumPy, SciPy, threadpoolctl, CuPy, cuda-pathfinder, pytest,
# hypothesis, pybind11, scikit-build-core, cmake and ninja, and nvcc on the PATH. The package goes
# into a temporary folder. A failed step is named in the table at the end and in the exit status;
# the steps after it are still tried.
set -uo pipefail
cd "$(dirname "$0")/.."
results=$(realpath -m "${1:-bench/results/gpu}")
python=${PYTHON:-python3}
mkdir -p "$results"
rm -f "$results"/*.log "$results"/*.json "$results/steps.tsv"
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
export PYTHONPATH="$site:tests:bench" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

# step NAME SECONDS COMMAND...: runs it, at most so long, and notes how it went.
step() {
    local name=$1 limit=$2 began=$SECONDS status=0
    shift 2
    echo "== $name"
    timeout --kill-after=5 "$limit" "$@" >"$results/$name.log" 2>&1 || status=$?
    tail -n 5 "$results/$name.log"
    printf '%s\t%s\t%s\n' "$name" "$status" $((SECONDS - began)) >>"$results/steps.tsv"
}

step build 110 "$python" -m pip install . --target "$site" --no-build-isolation --no-deps --no-index \
    --config-settings=cmake.define.GROKRFM_CUDA=ON --config-settings=build-dir="$site/build"
step device 20 "$python" bench/gpu.py device
step parity 90 bash -c '"$0" bench/gpu.py device && "$0" -m pytest tests/operations/test_cuda.py -q -p no:cacheprovider' \
    "$python"
step sanitizer 80 compute-sanitizer --tool memcheck --error-exitcode 9 "$python" bench/gpu.py small
step timings 230 "$python" bench/gpu.py timings "$results/timings.json"
"$python" bench/gpu.py table "$results"
