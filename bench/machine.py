"""The machine's facts and its ceiling: the GEMM rate, measured."""

import platform
import subprocess
import time
from functools import cache
from pathlib import Path

import grokrfm
import numpy as np
import scipy


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


def _commit():
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def facts():
    """Everything needed to read a timing: processor, versions, build, commit, GEMM rates."""
    return {
        "processor": _processor(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "grokrfm": grokrfm.__version__,
        "commit": _commit(),
        "build": grokrfm.build_info(),
        "gemm_gflops": {name: gemm_rate(name) / 1e9 for name in ("float32", "float64")},
    }


@cache
def gemm_rate(dtype):
    """Flops a second of a 2000 × 2000 product on all BLAS threads, best of several."""
    return 2 * 2000**3 / min(gemm_seconds(2000, dtype, 8))


def gemm_seconds(n, dtype, count):
    """Wall times of so many n × n products."""
    A = np.random.default_rng(0).random((n, n), dtype=dtype)
    A @ A  # wakes the workers of BLAS
    times = [seconds(lambda: A @ A) for _ in range(count)]
    time.sleep(0.25)  # until they stop spinning
    return times


def seconds(call):
    """Wall time of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def paired(ours, theirs, rounds):
    """Times of two calls in turn, A B A B …, so that a drift of the machine touches both.

    Each is called once more before it is timed: the first call after the other one finds cold
    caches and BLAS workers that still spin.
    """

    def timed(call):
        call()
        return seconds(call)

    return np.array([(timed(ours), timed(theirs)) for _ in range(rounds)]).T
