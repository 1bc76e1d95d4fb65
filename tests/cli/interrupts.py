"""Signals spread over the whole life of a run: every folder goes on to the undisturbed history.

    python tests/cli/interrupts.py [SIGNALS]

prints what became of them; the suite sends a few of them (test_folders.py).
"""

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from damage import command, history, same

OPTIONS = {
    "run": ("run", "--modulus", "23", "--kernel", "gaussian", "--iterations", "60"),
    "train-net": ("train-net", "--modulus", "23", "--hidden-width", "64", "--epochs", "100"),
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def start(name, folder):
    """A run in a process of its own, once the package begins to be imported."""
    process = subprocess.Popen(
        [sys.executable, "-m", "grokrfm", *OPTIONS[name], "--output", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not _catches(process.pid, signal.SIGTERM):
        time.sleep(0.001)
    return process


def _catches(pid, number):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (number - 1) & 1)


class Interrupts:
    """Whole runs, and how long they take."""

    def __init__(self, root):
        self.root = Path(root)
        self.whole, self.life = {}, {}
        for name in OPTIONS:
            process = start(name, self.root / name)
            began = time.monotonic()
            _, err = process.communicate()
            assert process.returncode == 0, err
            self.life[name] = time.monotonic() - began
            self.whole[name] = history(self.root / name)

    def trial(self, name, number, share):
        """Send a signal after that share of a run's life; return what became of the folder."""
        folder = self.root / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        process = start(name, folder)
        try:
            process.wait(share * self.life[name])
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        _, err = process.communicate()
        said = f"{name}, {number.name} at {share:.2f}: status {process.returncode}, {err}"
        assert "Traceback" not in err and "Error" not in err, said
        if process.returncode == 0:
            assert same(history(folder), self.whole[name]), said
            return "over"
        # While the interpreter itself ends, the system's own handlers are back.
        assert process.returncode in (128 + number, -number), said
        if process.returncode > 0:
            assert err.count("interrupted") == 1, said
        status, err = command(OPTIONS[name][0], "--resume", folder)
        if status == 0:
            became = "resumed"
        elif "the run is complete" in err:
            became = "complete"
        else:
            assert "no run to resume" in err, f"{said}; {err}"
            status, err = command(*OPTIONS[name], "--output", folder)
            assert status == 0, f"{said}; {err}"
            became = "not begun"
        assert same(history(folder), self.whole[name]), f"{said}; {became}"
        return became


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    # In the background of a shell it is ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    counts, rng = Counter(), random.Random(0)
    with tempfile.TemporaryDirectory() as root:
        interrupts = Interrupts(root)
        for trial in range(count):
            name, number = list(OPTIONS)[trial % 2], SIGNALS[trial % 3]
            share = (trial + rng.random()) / count
            try:
                counts[number.name, interrupts.trial(name, number, share)] += 1
            except AssertionError as error:
                counts[number.name, "WRONG"] += 1
                print(error)
    print(f"{count} signals: {dict(counts)}")
