"""The dense path: each operation, and a whole round beside the paper-literal one.

    python -m pytest bench/test_dense.py --benchmark-json=bench/results/dense.json

Flops are those that the method needs (kernel evaluations are not counted), so the share of the
GEMM rate is the share of the floor.
"""

import numpy as np
import pytest
from baseline import literal_round, one_hot
from grokrfm import ModularTask
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.kernels import make_kernel
from grokrfm.rfm.cholesky import CholeskyMachine
from grokrfm.rfm.evaluation import DenseEvaluator
from grokrfm.rfm.solvers import make_machine
from grokrfm.tasks import PairData, pair_indices
from machine import paired

DTYPES = ("float64", "float32")
ITERATION = 10  # timings and comparison are taken with a feature matrix that has structure


class Setting:
    """A task with the feature matrix of round `ITERATION` and machines to fit it."""

    def __init__(self, p, dtype, kernel="quadratic"):
        self.p, self.dtype = p, dtype
        self.operations = CppOperations()
        self.split = split = ModularTask("x+y", p).split(0.5, 0)
        self.n, self.m, self.c = len(split.X_train), len(split.X_test), p
        self.kernel = make_kernel(kernel, bandwidth=2.5, depth=1, dimension=2 * p)
        self.train, self.test = (pair_indices(X, p) for X in (split.X_train, split.X_test))
        self.Y = np.eye(p, dtype=dtype)[split.y_train]
        data = PairData(split.X_train, split.y_train, split.X_test, split.y_test, p, p)
        options = {"dtype": dtype, "ridge": 0.0}
        # Cholesky with sums over training points throughout, which any kernel needs ...
        evaluator = DenseEvaluator(self.operations, self.kernel, data, dtype, 0.0, True)
        self.dense = CholeskyMachine(
            self.operations, self.kernel, data, **options, evaluator=evaluator
        )
        # ... and what solver="cholesky" takes for this kernel.
        self.chosen = make_machine(
            "cholesky",
            self.operations,
            self.kernel,
            [data],
            **options,
            centred=True,
            tolerance=1e-5,
        )
        self.M = np.eye(2 * p, dtype=dtype)
        for _ in range(ITERATION if p < 90 else 1):
            self.M = self.round(self.chosen)

    def round(self, machine):
        """A round as the RFM loop runs it, measured residual and scores included."""
        with self.operations.device.own_threads():
            [self.evaluation] = machine.fit(self.M)
            return self.operations.matrix_power(self.evaluation.agop(), 0.5)

    def coefficients(self):
        self.dense.fit(self.M)
        return self.dense.dual_coefficients()

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
    alpha = s.coefficients()
    record(
        benchmark,
        lambda: s.operations.decision_function(s.kernel, s.M, s.test, s.train, alpha),
        2 * s.n * s.m * s.c,
        s.dtype,
    )


def test_agop(benchmark, setting):
    s = setting
    alpha = s.coefficients()
    record(
        benchmark,
        lambda: s.operations.agop(s.kernel, s.M, s.train, alpha, True),
        4 * s.n**2 * s.c + 4 * s.n * s.c * s.p**2,
        s.dtype,
    )


def test_matrix_power(benchmark, setting):
    [evaluation] = setting.chosen.fit(setting.M)
    G = evaluation.agop()
    record(benchmark, lambda: setting.operations.matrix_power(G, 0.5), 0, setting.dtype)


ROUNDS = [  # p, dtype, kernel, machine, times
    (61, "float64", "quadratic", "dense", 15),
    (61, "float64", "quadratic", "chosen", 15),
    (61, "float64", "gaussian", "dense", 15),
    (61, "float32", "quadratic", "chosen", 15),
    (97, "float64", "quadratic", "chosen", 2),
]


@pytest.mark.parametrize("p, dtype, kernel, machine, times", ROUNDS)
def test_round(benchmark, p, dtype, kernel, machine, times):
    """Ours and the paper-literal round in turn, after their results have been compared."""
    s = Setting(p, dtype, kernel)
    X, Z = one_hot(s.split.X_train, p, dtype), one_hot(s.split.X_test, p, dtype)

    def ours():
        return s.round(getattr(s, machine))

    def baseline():
        return literal_round(kernel, X, s.Y, Z, s.M)

    expected_outputs, expected_M = baseline()
    M = ours()
    scale = np.abs(expected_M).max()
    assert np.abs(M - expected_M).max() <= (1e-7 if dtype == "float64" else 5e-3) * scale
    hits = (expected_outputs.argmax(axis=1) == s.split.y_test).mean()
    assert abs(s.evaluation.test.accuracy - hits) <= (0 if dtype == "float64" else 0.005)
    our_times, their_times = paired(ours, baseline, times)
    benchmark.extra_info |= {
        "flops": s.floor_flops(),
        "dtype": dtype,
        "baseline_seconds": float(np.median(their_times)),
        "times_faster_than_baseline": float(np.median(their_times / our_times)),
    }
    benchmark.pedantic(ours, rounds=times, warmup_rounds=1)
