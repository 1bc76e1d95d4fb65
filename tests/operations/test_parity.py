"""C++ against the array reference: every operation, kernel, dtype, centring and number of slots."""

import numpy as np
import pytest
from cases import (
    CASES,
    DTYPES,
    EDGES,
    assert_close,
    bad_calls,
    check_operations,
    check_power,
    make_problem,
)
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.reference import ArrayOperations
from hypothesis import given, settings
from hypothesis import strategies as st

REFERENCE, CPP = ArrayOperations(), CppOperations()


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_operations(case, dtype, edge):
    check_operations(CPP, case, dtype, edge)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 300])
def test_cholesky_solve(n, dtype):
    rng = np.random.default_rng(6)
    factor = rng.normal(size=(n, n)) / np.sqrt(n)
    K = factor @ factor.T + np.eye(n)
    Y = rng.normal(size=(n, 5))
    expected = np.linalg.solve(K, Y).astype(dtype)
    for operations in (CPP, REFERENCE):
        assert_close(
            operations.cholesky_solve(K.astype(dtype), Y.astype(dtype)),
            expected,
            1e-12 if dtype == "float64" else 1e-4,
        )


@pytest.mark.parametrize("bad", [0, 5, 130, 299])
def test_cholesky_names_the_pivot(bad):
    K = np.eye(300)
    K[bad, bad] = -1
    with pytest.raises(np.linalg.LinAlgError, match=f"order {bad + 1} fails"):
        CPP.cholesky_solve(K.copy(), np.ones((300, 2)))
    with pytest.raises(np.linalg.LinAlgError):
        REFERENCE.cholesky_solve(K, np.ones((300, 2)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [0.5, 1.0, 0.25])
@pytest.mark.parametrize("rank", [12, 5])
def test_matrix_power(rank, exponent, dtype):
    factor = np.random.default_rng(7).normal(size=(12, rank))
    G = (factor @ factor.T).astype(dtype)
    G = (G + G.T) / 2
    check_power(CPP.matrix_power(G, exponent), G, exponent, dtype)
    check_power(REFERENCE.matrix_power(G, exponent), G, exponent, dtype)


@given(
    seed=st.integers(0, 2**32 - 1),
    p=st.integers(2, 9),
    slots=st.integers(1, 3),
    n=st.integers(1, 80),
    c=st.integers(1, 9),
    case=st.sampled_from(CASES[:3]),
    threads=st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_agop_of_any_shape(seed, p, slots, n, c, case, threads):
    from grokrfm import _cpu

    problem = make_problem(seed, p=p, slots=slots, n=n, c=c)
    kernel = case.kernel(len(problem.M))
    expected = REFERENCE.agop(kernel, problem.M, problem.train, problem.dual_coefficients, True)
    actual = _cpu.agop(kernel, problem.M, problem.train, problem.dual_coefficients, True, threads)
    uncentred = REFERENCE.agop(kernel, problem.M, problem.train, problem.dual_coefficients, False)
    assert_close(actual, expected, 1e-11, np.abs(uncentred).max())


def test_result_does_not_depend_on_when_it_is_computed():
    problem = make_problem(8, "float32", p=11, n=400, c=11)
    kernel = CASES[0].kernel(22)
    first, second = (
        CPP.agop(kernel, problem.M, problem.train, problem.dual_coefficients, True)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("x", [0.0, -1e-300, -1e-9, -0.5, -1.0, -87.5, -700.0, -745.0, -1e9])
def test_exponential_reaches_two_ulp(x):
    # With M = diag(-x, 0) the Gaussian kernel of the points e_0 and e_1 is exp(x / (2 L^2)).
    kernel = CASES[2].kernel(2)
    inputs = np.array([[0], [1]], dtype=np.int32)
    M = np.diag([-x * 2 * 2.5**2, 0.0])
    expected = np.exp(-kernel.scale * M[0, 0])
    actual = CPP.kernel_matrix(kernel, M, inputs)[0, 1]
    assert abs(actual - expected) <= 3 * np.spacing(expected)


@pytest.mark.parametrize(
    "error, message, arguments", [pytest.param(*row[1:], id=row[0]) for row in bad_calls()]
)
def test_bindings_refuse(error, message, arguments):
    with pytest.raises(error, match=message):
        CPP.agop(CASES[0].kernel(10), *arguments, True)
