"""What tests of sweeps have in common."""

import numpy as np
from grokrfm import ModularTask, RFMRun

RUN = RFMRun(modulus=5, iterations=2)
OVER = {"operation": ["x+y", "x*y"], "seed": range(2)}
SPLIT = ModularTask("x+y", 13).split(0.5)  # of one sampled run, in parts
PARAMETERS = {"agop_classes": 5, "eval_pairs": 20, "iterations": 3, "dtype": "float64", "tol": 1e-9}
_SAID = {"seconds", "final_seconds"}  # differ from one time to the next


def assert_same_rows(rows, expected):
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name in row.keys() - _SAID:
            np.testing.assert_equal(row[name], other[name], err_msg=name)


def files(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
