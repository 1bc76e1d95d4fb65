"""K V without K: the factored form of the Gaussian kernel on pairs, and where it gives way."""

import numpy as np
import pytest
from cases import DTYPES, make_problem, metric
from grokrfm import ModularTask, _cpu
from grokrfm.operations import ArrayOperations, make_kernel
from grokrfm.operations.cpp import CppOperations
from grokrfm.tasks import pair_indices

REFERENCE, CPP = ArrayOperations(), CppOperations()


def gaussian(p):
    return make_kernel("gaussian", bandwidth=2.5, depth=1, dimension=2 * p)


def errors(M, inputs, vectors, other=None):
    """Largest error of the compiled product relative to the largest entry of Σ |k| |v|."""
    kernel = gaussian(len(M) // 2)
    exact = (M.astype(np.float64), inputs, vectors.astype(np.float64), other)
    expected = REFERENCE.kernel_product(kernel, *exact)
    scale = REFERENCE.kernel_product(kernel, *exact[:2], abs(exact[2]), other).max()
    actual = CPP.kernel_product(kernel, M, inputs, vectors, other)
    assert actual.dtype == M.dtype
    return abs(actual - expected).max() / scale


@pytest.mark.parametrize("dtype, bound", [("float32", 2e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("size", [0.01, 1, 10, 100, 300, 1000, 1e4])
def test_error_does_not_grow_with_the_feature_matrix(size, dtype, bound):
    """At 300 in float32, 1e4 in float64, the tables would overflow and look-ups take over."""
    p = 17
    M = (size * metric(np.random.default_rng(0), 2 * p, "definite")).astype(dtype)
    split = ModularTask("x+y", p).split(0.6, 0)
    train, test = pair_indices(split.X_train, p), pair_indices(split.X_test, p)
    vectors = np.random.default_rng(1).normal(size=(len(train), 5)).astype(dtype)
    assert errors(M, train, vectors) < bound
    if size <= 30:  # beyond, all entries between different pairs are tiny
        assert errors(M, test, vectors, train) < bound


def test_offsets_that_no_distance_depends_on_do_no_harm():
    p = 11
    M = 0.5 * np.eye(2 * p) + 300  # every look-up is 300 or so, every squared distance 0 to 2
    inputs = np.ascontiguousarray(pair_indices(ModularTask("x+y", p).pairs, p))
    vectors = np.random.default_rng(2).normal(size=(p * p, 3))
    assert errors(M, inputs, vectors) < 1e-13
    product = CPP.kernel_product(
        gaussian(p), M.astype(np.float32), inputs, np.eye(p * p, 1, dtype=np.float32)
    )
    np.testing.assert_allclose(product[0], 1, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", ["one", "all", "one row"])
def test_few_and_all_pairs(count, dtype):
    p = 7
    pairs = ModularTask("x+y", p).pairs
    chosen = {"one": pairs[10:11], "all": pairs[::-1], "one row": pairs[p : 2 * p]}[count]
    inputs = np.ascontiguousarray(pair_indices(chosen, p))
    M = metric(np.random.default_rng(3), 2 * p, "definite").astype(dtype)
    vectors = np.random.default_rng(4).normal(size=(len(chosen), 2)).astype(dtype)
    assert errors(M, inputs, vectors) < (1e-6 if dtype == "float32" else 1e-14)


def test_result_does_not_depend_on_the_number_of_threads():
    problem = make_problem(8, "float32", p=11, n=700, c=5)
    arguments = (gaussian(11), problem.M, problem.train, problem.dual_coefficients, None)
    one, two, many = (_cpu.kernel_product(*arguments, threads) for threads in (1, 2, 50))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize("where", ["vectors", "A", "B"])
def test_what_is_not_a_number_shows(where):
    p = 5
    problem = make_problem(9, p=p)
    if where == "vectors":
        problem.dual_coefficients[3, 1] = np.nan
        expected = [False, True, False, False]
    else:
        problem.M[(0, 0) if where == "A" else (0, p)] = np.nan
        expected = [True] * 4
        assert (problem.train == [0, p]).all(axis=1).any() or (problem.train[:, 0] == 0).any()
    product = CPP.kernel_product(gaussian(p), problem.M, problem.train, problem.dual_coefficients)
    np.testing.assert_array_equal(np.isnan(product).any(axis=0), expected)


def test_infinite_feature_matrix_is_not_taken_for_a_finite_one():
    problem = make_problem(9)
    product = CPP.kernel_product(
        gaussian(5), np.full((10, 10), np.inf), problem.train, problem.dual_coefficients
    )
    assert np.isnan(product).all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"vectors": np.ones((16, 2))}, r"vectors: expected shape \(17"),
        ({"other": np.zeros((17, 2), np.int64)}, "other: expected dtype int32"),
        ({"threads": 0}, "threads: expected at least 1, got 0"),
    ],
)
def test_refused(change, message):
    problem = make_problem(9)
    good = {"inputs": problem.train, "vectors": problem.dual_coefficients}
    with pytest.raises((TypeError, ValueError), match=message):
        _cpu.kernel_product(gaussian(5), problem.M, **{**good, **change})
