"""The dense path: each operation, and a whole round beside the paper-literal one.

    python -m pytest bench/test_dense.py --benchmark-json=bench/results/dense.json

Flops are those that the method needs (kernel evaluations are not counted), so the share of the
GEMM rate is the share of the floor.
"""

import numpy as np
import pytest
from baseline import literal_round, one_hot
from grokrfm import ModularTask
from grokrfm.cpp import CppOperations
from grokrfm.kernels import make_kernel
from grokrfm.machines import DenseMachine
from grokrfm.rfm import pair_indices
from machine import paired

DTYPES = ("float64", "float32")
ITERATION = 10  # timings and comparison are taken with a feature matrix that has structure


class Setting:
    """A task with the feature matrix of round `ITERATION`."""

    def __init__(self, p, dtype, kernel="quadratic"):
        self.p, self.dtype, self.kernel_name = p, dtype, kernel
        self.operations = CppOperations()
        split = ModularTask("x+y", p).split(0.5, 0)
        self.split = split
        self.kernel = make_kernel(kernel, bandwidth=2.5, depth=1, dimension=2 * p)
        self.train, self.test = (pair_indices(X, p) for X in (split.X_train, split.X_test))
        self.Y = np.eye(p, dtype=dtype)[split.y_train]
        self.machine = DenseMachine(
            self.operations,
            self.kernel,
            self.train,
            split.y_train,
            self.test,
            split.y_test,
            n_classes=p,
            dtype=dtype,
            ridge=0.0,
            centred=True,
        )
        self.M = np.eye(2 * p, dtype=dtype)
        for _ in range(ITERATION if p < 90 else 1):
            self.M = self.round()
        self.n, self.m, self.c = len(split.X_train), len(split.X_test), p

    def round(self):
        """A round as the RFM loop runs it, measured residual and scores included."""
        self.train_scores = self.machine.fit(self.M)
        self.test_scores = self.machine.evaluate()
        return self.operations.matrix_power(self.machine.agop(), 0.5)

    def floor_flops(self):
        """n³/3 (factorisation) + 2n²c (solve) + 4n²c + 4ncp² (AGOP)."""
        n, c, p = self.n, self.c, self.p
        return n**3 / 3 + 2 * n**2 * c + 4 * n**2 * c + 4 * n * c * p**2


@pytest.fixture(scope="module", params=DTYPES)
def setting(request):
    return Setting(61, request.param)


def record(benchmark, call, flops, dtype, rounds=15):
    benchmark.extra_info |= {"flops": flops, "dtype": dtype}
    return benchmark.pedantic(call, rounds=rounds, warmup_rounds=2)


def test_kernel_matrix(benchmark, setting):
    s = setting
    K = s.operations.kernel_matrix(s.kernel, s.M, s.train)
    record(benchmark, lambda: s.operations.kernel_matrix(s.kernel, s.M, s.train, out=K), 0, s.dtype)


def test_cholesky_solve(benchmark, setting):
    s = setting
    K = s.operations.kernel_matrix(s.kernel, s.M, s.train)
    benchmark.extra_info |= {"flops": s.n**3 / 3 + 2 * s.n**2 * s.c, "dtype": s.dtype}
    X = benchmark.pedantic(
        s.operations.cholesky_solve, setup=lambda: ((K.copy(), s.Y), {}), rounds=15, warmup_rounds=2
    )
    assert np.abs(K @ X - s.Y).max() < (1e-10 if s.dtype == "float64" else 1e-2)


def test_decision_function(benchmark, setting):
    s = setting
    alpha = s.machine.dual_coefficients
    record(
        benchmark,
        lambda: s.operations.decision_function(s.kernel, s.M, s.test, s.train, alpha),
        2 * s.n * s.m * s.c,
        s.dtype,
    )


def test_agop(benchmark, setting):
    s = setting
    alpha = s.machine.dual_coefficients
    record(
        benchmark,
        lambda: s.operations.agop(s.kernel, s.M, s.train, alpha, True),
        4 * s.n**2 * s.c + 4 * s.n * s.c * s.p**2,
        s.dtype,
    )


def test_matrix_power(benchmark, setting):
    G = setting.machine.agop()
    record(benchmark, lambda: setting.operations.matrix_power(G, 0.5), 0, setting.dtype)


@pytest.mark.parametrize(
    "p, dtype, kernel, rounds",
    [
        (61, "float64", "quadratic", 15),
        (61, "float64", "gaussian", 15),
        (61, "float32", "quadratic", 15),
        (97, "float64", "quadratic", 2),
    ],
)
def test_round(benchmark, p, dtype, kernel, rounds):
    """Ours and the paper-literal round in turn, after their results have been compared."""
    s = Setting(p, dtype, kernel)
    X, Z = one_hot(s.split.X_train, p, dtype), one_hot(s.split.X_test, p, dtype)

    def baseline():
        return literal_round(kernel, X, s.Y, Z, s.M)

    expected_outputs, expected_M = baseline()
    M = s.round()
    scale = np.abs(expected_M).max()
    assert np.abs(M - expected_M).max() <= (1e-7 if dtype == "float64" else 5e-3) * scale
    hits = (expected_outputs.argmax(axis=1) == s.split.y_test).mean()
    assert abs(s.test_scores.accuracy - hits) <= (0 if dtype == "float64" else 0.005)
    ours, theirs = paired(s.round, baseline, rounds)
    benchmark.extra_info |= {
        "flops": s.floor_flops(),
        "dtype": dtype,
        "baseline_seconds": float(np.median(theirs)),
        "times_faster_than_baseline": float(np.median(theirs / ours)),
    }
    benchmark.pedantic(s.round, rounds=rounds, warmup_rounds=1)
