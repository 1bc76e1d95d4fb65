"""Random damage to run folders, each then resumed: refused by name, or on to the same history.

    python tests/cli/damage.py [TRIALS]

prints how many of each there were; the suite runs a few of them (test_folders.py).
"""

import contextlib
import io
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
from grokrfm.cli import main, training
from grokrfm.files import read_arrays
from matplotlib.figure import Figure

# Name -> options, the one that extends the run, length when it is interrupted or complete, and
# when it is resumed to its end.
RUNS = {
    "cg": (["run", "--modulus", "7", "--solver", "cg"], "--iterations", 5, 9),
    "cholesky": (["run", "--modulus", "5", "--kernel", "gaussian"], "--iterations", 4, 7),
    "noisy": (["run", "--modulus", "5", "--label-noise", "0.2"], "--iterations", 4, 7),
    "network": (
        ["train-net", "--modulus", "5", "--hidden-width", "8", "--record-every", "2"],
        "--epochs",
        4,
        8,
    ),
}
FILES = ("config.json", "checkpoint.npz", "metrics.jsonl", "features.npz", "run.png")


def command(*arguments):
    """Exit status and standard error of the command line, in this process, with empty pictures."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(training, "plot_run", lambda *_: Figure(figsize=(1, 1))),
    ):
        status = main([str(each) for each in arguments])
    return status, err.getvalue()


def history(folder):
    """Rows of a run without their times, and the arrays of features.npz."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    _, arrays = read_arrays(folder / "features.npz")
    arrays.pop("history/seconds")
    return [{**row, "seconds": 0} for row in rows], arrays


def same(a, b):
    return (
        a[0] == b[0]
        and a[1].keys() == b[1].keys()
        and all(np.array_equal(a[1][name], b[1][name], equal_nan=True) for name in a[1])
    )


class Damage:
    """Folders of runs as they were left, and the histories to which they must go on."""

    def __init__(self, root):
        self.root = Path(root)
        self.whole = {}
        for name, (options, extend, short, long) in RUNS.items():
            for length, folder in ((short, name), (long, f"{name}-whole")):
                status, err = command(
                    *options, extend, length, "--output", self.root / folder, "--checkpoint-every=2"
                )
                assert status == 0, err
            self.whole[name] = history(self.root / f"{name}-whole")

    def trial(self, seed):
        """Return ("refused" or "resumed", what was done); AssertionError for anything else."""
        rng = random.Random(seed)
        name = rng.choice(list(RUNS))
        options, extend, _, long = RUNS[name]
        folder = self.root / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.root / name, folder)
        done = []
        for _ in range(rng.choice((1, 1, 1, 2))):
            done.append(self._damage(rng, folder, name, done))
        status, err = command(options[0], "--resume", folder, extend, long)
        said = f"seed {seed}, {name}: {done}: {err}"
        if status == 0:
            assert same(history(folder), self.whole[name]), f"silently different, {said}"
            return "resumed", done
        lines = err.strip().splitlines()
        assert status == 2 and len(lines) == 1 and str(folder) in lines[0], f"unclear, {said}"
        assert "allow_pickle" not in err, said
        # A refusal changes nothing: with the files as they were the run goes on.
        for file in FILES:
            shutil.copy(self.root / name / file, folder / file)
        if seed % 20 == 0:
            status, err = command(options[0], "--resume", folder, extend, long)
            assert status == 0 and same(history(folder), self.whole[name]), f"spoilt, {said}"
        return "refused", done

    def _damage(self, rng, folder, name, done):
        path = folder / rng.choice(FILES[:2] if rng.random() < 0.7 else FILES)
        content = path.read_bytes()
        kind = rng.choice(("truncated", "flipped", "swapped", "foreign", "emptied", "edited"))
        if kind == "foreign" and "foreign" in "".join(done):
            kind = "emptied"  # both files of another run make that run's folder
        if kind == "truncated":
            path.write_bytes(content[: rng.randrange(len(content) or 1)])
        elif kind == "flipped" and content:
            changed = bytearray(content)
            for _ in range(rng.choice((1, 1, 2, 50))):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
        elif kind == "swapped":
            other = folder / rng.choice(FILES)
            path.write_bytes(other.read_bytes())
            other.write_bytes(content)
        elif kind == "foreign":
            other = rng.choice([each for each in RUNS if each != name])
            shutil.copy(self.root / other / path.name, path)
        elif kind == "emptied":
            path.write_bytes(b"")
        elif kind == "edited" and path.suffix.startswith(".json") and b":" in content:
            text = content.decode(errors="replace")
            digits = [at for at, each in enumerate(text) if each.isdigit()]
            at = rng.choice(digits)
            path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
        return f"{path.name} {kind}"


if __name__ == "__main__":
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    counts = Counter()
    with tempfile.TemporaryDirectory() as root:
        damage = Damage(root)
        for seed in range(trials):
            try:
                counts[damage.trial(seed)[0]] += 1
            except AssertionError as error:
                counts["WRONG"] += 1
                print(error)
    print(f"{trials} trials: {dict(counts)}")
