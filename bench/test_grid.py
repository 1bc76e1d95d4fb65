"""Rounds on the grid of pairs: the operator beside GEMM, whole runs beside the paper-literal round.

python -m pytest bench/test_grid.py --benchmark-json=bench/results/grid.json
"""

import numpy as np
import pytest
from baseline import literal_round, one_hot
from grokrfm import FeatureMeasures, ModularTask, RFMClassifier
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.kernels import make_kernel, quadratic_form
from grokrfm.rfm.grid import GridEvaluator
from grokrfm.tasks import PairData
from machine import paired, seconds


@pytest.mark.parametrize(
    "p, dtype",
    [(61, "float32"), (97, "float32"), (199, "float32"), (61, "float64"), (199, "float64")],
)
def test_cg_step(benchmark, p, dtype):
    """One conjugate-gradient step for all classes, elementwise work included: 10 p⁴ flops.

    The difference between solves of many and of few steps, so that set-up, evaluation and AGOP
    drop out.
    """
    operations = CppOperations()
    split = ModularTask("x+y", p).split(0.5, 0)
    data = PairData(split.X_train, split.y_train, split.X_test, split.y_test, p, p)
    form = quadratic_form(make_kernel("quadratic", bandwidth=1, depth=1, dimension=2 * p))
    grid = GridEvaluator(operations, form, [data], dtype, 0.0, True)
    A = np.random.default_rng(0).normal(size=(2 * p, 2 * p)) / np.sqrt(2 * p)
    M = (A @ A.T + np.eye(2 * p)).astype(dtype)
    start = np.zeros((p, 1, len(data.train)), dtype)

    def solve(steps):
        grid.round(M, start.copy(), 1e-30, steps, [])

    few, many = 2, 12 if p > 100 else 22
    with operations.device.own_threads():
        solve(few)
        times = [[seconds(lambda s=s: solve(s)) for s in (few, many)] for _ in range(7)]
    step = float(np.median([(b - a) / (many - few) for a, b in times]))
    benchmark.extra_info |= {"flops": 10 * p**4, "dtype": dtype, "seconds": step}
    benchmark.pedantic(solve, args=(few,), rounds=1)


@pytest.mark.parametrize(
    "p, baseline_dtype, repeats",
    [(61, "float64", 7), (61, "float32", 7), (97, "float64", 1), (97, "float32", 1)],
)
def test_run_beside_baseline(benchmark, p, baseline_dtype, repeats):
    """Mean round of a run with default settings, and one paper-literal round, in turn."""
    split = ModularTask("x+y", p).split(0.5, 0)
    X, Z = (one_hot(pairs, p, baseline_dtype) for pairs in (split.X_train, split.X_test))
    Y = np.eye(p, dtype=baseline_dtype)[split.y_train]
    model = RFMClassifier(p)

    def run():
        model.fit(split.X_train, split.y_train, (split.X_test, split.y_test))

    run()
    # The literal round from M_1 must lead to M_2 and the accuracy of round 1.
    outputs, M = literal_round(
        "quadratic", X, Y, Z, model.feature_matrices_[1].astype(baseline_dtype)
    )
    assert np.abs(M - model.feature_matrices_[2]).max() <= 5e-3 * np.abs(M).max()
    hits = (outputs.argmax(axis=1) == split.y_test).mean()
    assert abs(hits - model.history_["test_accuracy"][1]) <= 0.005
    features = model.feature_matrices_[10].astype(baseline_dtype)
    runs, theirs = paired(run, lambda: literal_round("quadratic", X, Y, Z, features), repeats)
    ours = runs / (model.iterations + 1)
    benchmark.extra_info |= {
        "dtype": "float32",
        "baseline_dtype": baseline_dtype,
        "seconds": float(np.median(ours)),
        "baseline_seconds": float(np.median(theirs)),
        "times_faster_than_baseline": float(np.median(np.divide(theirs, ours))),
    }
    benchmark.pedantic(run, rounds=1)


@pytest.mark.parametrize("p", [31, 61, 97])
def test_measures_while_a_run_goes_on(benchmark, p):
    """What `FeatureMeasures` adds to a run, as a share of it: runs without and with, in turn."""
    split = ModularTask("x*y", p).split(0.5, 0)
    model = RFMClassifier(p, solver="cg")

    def run(*callbacks):
        model.fit(split.X_train, split.y_train, (split.X_test, split.y_test), callbacks)

    run()
    with_measures, without = paired(lambda: run(FeatureMeasures("x*y")), run, 9)
    added = float(np.median(with_measures - without))
    benchmark.extra_info |= {
        "seconds": added / (model.iterations + 1),
        "share_of_a_round": added / float(np.median(without)),
    }
    benchmark.pedantic(run, rounds=1)
