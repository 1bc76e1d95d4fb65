"""A sweep of 180 runs beside loops written by hand.

    python bench/sweep.py [repeats]

x+y, quadratic kernel, 30 iterations, 9 training fractions, 5 seeds, p in {31, 41, 53, 61}: a loop
of `fit` on one thread; the same in two processes of one thread each; `sweep` with two worker
processes; `sweep` on a Dask LocalCluster of two workers, where there is dask.distributed. In turn,
the start of the processes included. Prints medians and writes bench/results/sweep.json.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import numpy as np
from grokrfm import ModularTask, RFMClassifier, RFMRun, sweep

FRACTIONS = [round(0.2 + 0.05 * k, 2) for k in range(9)]
MODULI, SEEDS = (31, 41, 53, 61), range(5)
OVER = {"modulus": MODULI, "train_fraction": FRACTIONS, "seed": SEEDS}
SINGLE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "GROKRFM_NUM_THREADS": "1"}
# In the place of Dask's own, with which arrays are given back to the system at once. Workers must
# start with it: what a cluster is given as `env` comes too late for the allocator.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}


def fits(first, step):
    """Every step-th run from the first on, as a newcomer would write it."""
    runs = [(p, r, seed) for p in MODULI for r in FRACTIONS for seed in SEEDS]
    for p, fraction, seed in runs[first::step]:
        RFMClassifier(p).fit(ModularTask("x+y", p).split(fraction, seed))


def by_hand(processes):
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--fits", str(k), str(processes)],
            env={**os.environ, **SINGLE},
        )
        for k in range(processes)
    ]
    assert not any(process.wait() for process in started)


def swept(executor):
    with tempfile.TemporaryDirectory() as folder:
        table = sweep(
            RFMRun(operation="x+y", modulus=31),
            OVER,
            folder=folder,
            executor=executor,
            progress=False,
        )
    assert len(table) == 180 and set(table.column("status")) == {"done"}


def on_dask():
    from distributed import Client, LocalCluster

    inherited = SINGLE | MALLOC
    os.environ.update(inherited)
    try:
        with (
            LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            swept(client)
    finally:
        for name in inherited:
            del os.environ[name]


def main(repeats):
    ways = {
        "loop, one thread": lambda: by_hand(1),
        "two processes by hand": lambda: by_hand(2),
        "sweep, executor=2": lambda: swept(2),
    }
    try:
        import distributed  # noqa: F401

        ways["sweep, Dask LocalCluster(2)"] = on_dask
    except ImportError:
        print("no dask.distributed: its row is left out")
    times = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - began)
            print(f"{name:28s} {times[name][-1]:7.1f} s", flush=True)
    medians = {name: float(np.median(each)) for name, each in times.items()}
    loop = medians["loop, one thread"]
    for name, median in medians.items():
        print(f"{name:28s} median {median:7.1f} s  {loop / median:.2f} times faster than the loop")
    result = {"machine": machine.facts(), "seconds": times, "medians": medians}
    path = Path(__file__).parent / "results" / "sweep.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fits"]:
        fits(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
