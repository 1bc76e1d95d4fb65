"""Rounds on the grid at their edges: starts that are not finite, nothing to do, Ctrl-C."""

import os
import subprocess
import sys

import numpy as np
import pytest
from cases import FAMILY, make_data, metric
from emulated import emulated_operations
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.grid import GridProblem
from grokrfm.operations.kernels import quadratic_form
from grokrfm.rfm.grid import GridEvaluator
from threadpoolctl import threadpool_limits

NOT_FINITE = (np.inf, np.nan)


@pytest.fixture(params=["cpp", "cuda"])
def operations(request):
    """One thread, or blocks of one class: what a block leaves behind meets the next one."""
    if request.param == "cpp":
        with threadpool_limits(1):
            yield CppOperations()
    else:
        emulated = emulated_operations()
        emulated.block_bytes = 1
        yield emulated


def solve(operations, p, starts, max_iterations=300, dtype="float64", case=FAMILY[0]):
    """Solutions, sums and own outputs of a round for as many classes as there are starts."""
    data, form = make_data(p), quadratic_form(case.kernel(2 * p))
    grid = GridEvaluator(operations, form, [data], dtype, 0.0, True)
    solutions = np.zeros((len(starts), 2, len(data.train)), dtype)
    solutions[:, 0] = np.reshape(starts, (-1, 1))
    solutions[:, 0, ::3] *= -0.5
    M = metric(np.random.default_rng(0), 2 * p, "definite").astype(dtype)
    _, sums = grid.round(M, solutions, 1e-6, max_iterations, [1.0])
    return solutions, sums, grid._own


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("case", FAMILY, ids=str)
def test_a_class_does_not_see_what_an_earlier_block_left(operations, case, value):
    """p = 151 in float64: every class is a block. A start that is no number counts as zeros."""
    (good, clean, _), (actual, sums, _) = (
        solve(operations, 151, [first, 1.0, 2.0], case=case) for first in (0.0, value)
    )
    np.testing.assert_array_equal(actual[:, 0], good[:, 0])
    np.testing.assert_array_equal(sums.residuals, clean.residuals)
    assert np.max(sums.residuals) <= 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_class_does_not_see_the_others_of_its_block(value, dtype):
    for operations in (CppOperations(), emulated_operations()):
        good, _, _ = solve(operations, 13, [0.0] + 12 * [1.0], dtype=dtype)
        actual, sums, _ = solve(operations, 13, [value] + 12 * [1.0], dtype=dtype)
        np.testing.assert_array_equal(actual[:, 0], good[:, 0])
        assert np.max(sums.residuals) <= 1e-5


@pytest.mark.parametrize("value", NOT_FINITE)
def test_outputs_that_are_no_numbers_are_never_the_largest(value):
    """Solutions taken as they are: only the sums over classes show those of class 0."""
    for operations in (CppOperations(), emulated_operations()):
        (_, clean, good), (_, sums, own) = (
            solve(operations, 13, [first] + 12 * [1.0], 0) for first in (-1e9, value)
        )
        assert np.isnan(np.ravel(sums.residuals)[0])
        np.testing.assert_array_equal(np.ravel(sums.residuals)[1:], np.ravel(clean.residuals)[1:])
        np.testing.assert_array_equal(sums.best_class, clean.best_class)
        np.testing.assert_array_equal(sums.best, clean.best)
        labels = make_data(13)
        others = labels.train[labels.train_labels > 0]
        np.testing.assert_array_equal(own[tuple(others.T)], good[tuple(others.T)])
        assert np.isnan(sums.zqz).any()


@pytest.mark.parametrize(
    "d, classes", [(10, 0), (0, 3), (9, 3)], ids=["no classes", "no values", "odd"]
)
def test_nothing_to_do_is_refused(operations, d, classes):
    p, n = d // 2, (d // 2) ** 2
    square = np.zeros((d, d))
    labels = np.zeros((p, p), np.int32)
    problem = GridProblem(
        square, (1.0, 0.0, 0.0), 0.0, labels, labels - 1, square, square, 1e-3, 10, []
    )
    with pytest.raises(ValueError, match="expected"):
        operations.grid_round(problem, np.zeros((classes, 1, n)), np.zeros((p, p)))


# One class, one block: a thousand steps, since the residual is to become zero.
LONG_SOLVE = """
import os, signal, threading, time
import numpy as np
from grokrfm import _cpu

signal.signal(signal.SIGINT, signal.default_int_handler)
p = 401
A = np.random.default_rng(0).normal(size=(2 * p, 2 * p)) / np.sqrt(2 * p)
M, nothing = A @ A.T + np.eye(2 * p), np.zeros((2 * p, 2 * p))
labels = np.add.outer(np.arange(p), np.arange(p)).astype(np.int32) % p
unlabelled = np.full_like(labels, -1)

def interrupt():
    global sent
    sent = time.perf_counter()
    os.kill(os.getpid(), signal.SIGINT)

threading.Timer(0.5, interrupt).start()
try:
    _cpu.grid_round(
        M, (3.0, 0.0, 0.0), 0.0, labels, unlabelled, nothing, nothing, 0.0, 1000, [],
        np.zeros((1, 1, p * p)), np.zeros((p, p)),
    )
except KeyboardInterrupt:
    print(time.perf_counter() - sent)
"""


def test_ctrl_c_stops_a_solve_between_two_steps():
    command = [sys.executable, "-c", LONG_SOLVE]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert float(done.stdout) < 2
