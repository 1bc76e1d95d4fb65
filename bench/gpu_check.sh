#!/usr/bin/env bash
# Everything that needs a GPU, in one command and under ten minutes: builds the extension unless one
# is there, compares every operation and whole runs with the CPU's, runs small cases under
# compute-sanitizer, times.
#
#     bash bench/gpu_check.sh [folder]     # results; $OUT or bench/results/gpu unless given
#
# Needs no network: Python ($PYTHON, python3) with NumPy, SciPy, threadpoolctl, CuPy, cuda-pathfinder,
# pytest, hypothesis and pybind11. A package with the CUDA extension on the PYTHONPATH or installed is
# taken as it is; else scikit-build-core, cmake, ninja and nvcc on the PATH build one into a temporary
# folder. The folder gets gpu.json, with all results, and logs.tar.gz, both brought up to date after
# every step. A failed step is named in the table at the end and in the exit status; where there is a
# GPU the steps after it are still tried.
set -uo pipefail
cd "$(dirname "$0")/.."
end=$((SECONDS + 570))
results=$(realpath -m "${1:-${OUT:-bench/results/gpu}}")
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$results" "$work/site" "$work/rows"
export PYTHONPATH="$work/site:tests:bench${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# What happens to be installed beside pytest stays out of it; headers compiled in advance shorten the
# time that CuPy takes for its first kernels.
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 CUPY_NVRTC_USE_PCH=1

# step NAME SECONDS COMMAND...: runs it, at most so long, and notes how it went.
step() {
    local name=$1 limit=$2 began=$SECONDS status=0
    shift 2
    echo "== $name"
    timeout --kill-after=5 "$limit" "$@" >"$work/$name.log" 2>&1 || status=$?
    tail -n 5 "$work/$name.log"
    printf '%s\t%s\t%s\n' "$name" "$status" $((SECONDS - began)) >>"$work/steps.tsv"
    "$python" bench/gpu.py collect "$work" "$results"
}

if ! "$python" -c "import grokrfm._cuda" 2>/dev/null; then
    step build 170 "$python" -m pip install . --target "$work/site" --no-build-isolation --no-deps \
        --no-index --config-settings=cmake.define.GROKRFM_CUDA=ON \
        --config-settings=build-dir="$work/build"
fi
step device 40 "$python" bench/gpu.py device "$work/device.json"
if [ -e "$work/device.json" ]; then
    step warm 60 "$python" bench/gpu.py small # CuPy compiles its kernels, and keeps them
    # Without a compiler what needs the host build is left out.
    step parity 90 env CXX=none "$python" -m pytest -q -W default -p no:cacheprovider -p _hypothesis_pytestplugin \
        -k "(cuda or cupy) and not emulated" \
        tests/operations/test_cuda.py tests/rfm tests/training/test_checkpoints.py
    left=$((end - SECONDS - 110)) # for what follows
    step rows "$left" "$python" bench/gpu.py rows "$work" $((left - 5))
    # Errors of the API are left out: libraries probe for functions that a driver need not have.
    step sanitizer 80 compute-sanitizer --tool memcheck --report-api-errors no --error-exitcode 9 \
        "$python" bench/gpu.py small
    if command -v nsys >/dev/null; then
        step profile 25 nsys profile --trace=cuda,cublas --stats=true --output "$work/profile" \
            "$python" bench/gpu.py row "stages p=199" "$work/profile.json"
    fi
else
    echo "nothing else was tried without a GPU"
fi
"$python" bench/gpu.py table "$results"
