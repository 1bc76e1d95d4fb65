"""Kills processes of a sweep at random moments: python tests/experiments/kills.py [trials] (Linux).

In turn a worker, the parent, both, and one of two parents on one folder. Then the same sweep is
called again: every run has to be there once, with the row of an undisturbed sweep, but for times.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from grokrfm import RFMRun, sweep

RUN = RFMRun(modulus=23, iterations=60)
OVER = {"operation": ["x+y", "x*y"], "seed": range(10)}
TIMES = ("seconds", "final_seconds")


def swept(folder, executor):
    return sweep(RUN, OVER, folder=folder, executor=executor, progress=False)


def start(folder):
    """A sweep on two workers, in a process of its own."""
    return subprocess.Popen([sys.executable, __file__, "--sweep", folder])


def workers(pid):
    """Worker processes of a sweep, not the helper that Python starts beside them."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [
            int(child)
            for child in children
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
    except OSError:
        return []


def kill(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def disturb(folder, kind, rng):
    """Start a sweep and kill some of its processes.

    Returns how many were killed, how many runs were done by then, and orphans, if there are any.
    """
    parents = [start(folder) for _ in range(2 if kind == "one of two parents" else 1)]
    while len(workers(parents[0].pid)) < 2 and parents[0].poll() is None:
        time.sleep(0.01)
    enough = rng.randrange(19)  # of the 20 runs
    while len(list(Path(folder).glob("*.npz"))) < enough and parents[0].poll() is None:
        time.sleep(0.005)
    time.sleep(rng.uniform(0.0, 0.1))
    orphans = victims = workers(parents[0].pid)
    if kind == "worker":
        victims = victims[:1]
    elif kind == "both":
        victims = [parents[0].pid, *victims[:1]]
    else:
        victims = [parents[0].pid]
    done = len(list(Path(folder).glob("*.npz")))
    for pid in victims:
        kill(pid)
    for parent in parents:
        parent.wait(timeout=120)
    alive, deadline = orphans, time.monotonic() + 10
    while alive and time.monotonic() < deadline:  # one that still imports learns of it afterwards
        time.sleep(0.1)
        alive = [pid for pid in orphans if Path(f"/proc/{pid}").exists()]
    return len(victims), done, alive


def same(rows, expected):
    for row, other in zip(rows, expected, strict=True):
        for name in row.keys() - set(TIMES):
            np.testing.assert_equal(row[name], other[name], err_msg=name)


def main(trials):
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as base:
        expected = swept(f"{base}/undisturbed", 2)
        assert all(row["status"] == "done" for row in expected)
        for trial in range(trials):
            kind = ("worker", "parent", "both", "one of two parents")[trial % 4]
            folder = f"{base}/{trial}"
            killed, done, alive = disturb(folder, kind, rng)
            assert not alive, f"orphans: {alive}"
            left = len(list(Path(folder).glob("*.npz")))
            rows = swept(folder, 2)
            same(rows, expected)
            assert len(list(Path(folder).glob("*.npz"))) == len(expected)
            print(
                f"{trial}: {kind}, {killed} killed after {done} runs, {left} there afterwards, "
                f"all {len(rows)} after the second call",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--sweep"]:
        swept(sys.argv[2], 2)
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
