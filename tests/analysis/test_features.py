import tracemalloc

import numpy as np
import pytest
from grokrfm import features
from hypothesis import given
from hypothesis import strategies as st

PRIMES = [2, 3, 5, 7, 13, 41, 43, 47, 61, 67, 97, 499]


def circulant(first_column):
    p = len(first_column)
    i, j = np.indices((p, p))
    return np.asarray(first_column)[(i - j) % p]


def hankel(first_column):
    p = len(first_column)
    i, j = np.indices((p, p))
    return np.asarray(first_column)[(i + j) % p]


@given(p=st.integers(2, 12), seed=st.integers(0, 1000))
def test_deviation_vanishes_on_its_own_orientation_alone(p, seed):
    column = np.random.default_rng(seed).normal(size=p)
    for matrix, own, other in (
        (circulant(column), "circulant", "hankel"),
        (hankel(column), "hankel", "circulant"),
    ):
        assert features.circulant_deviation(matrix, own) < 1e-12
        assert features.circulant_deviation(matrix) < 1e-12
        if p > 2:  # for p = 2 the two orientations are one
            assert features.circulant_deviation(matrix, other) > 1e-6


def test_deviation_is_the_share_off_the_projection():
    rng = np.random.default_rng(0)
    C, noise = circulant(rng.normal(size=7)), rng.normal(size=(7, 7))
    lines = [np.mean([noise[i, (i - k) % 7] for i in range(7)]) for k in range(7)]
    off = noise - circulant(lines)
    block = C + off
    expected = (off**2).sum() / (block**2).sum()
    assert features.circulant_deviation(block, "circulant") == pytest.approx(expected)
    assert features.circulant_deviation(block, "circulant", "mean") == pytest.approx(expected / 7)


def test_deviation_of_a_zero_block_is_not_defined():
    assert np.isnan(features.circulant_deviation(np.zeros((3, 3))))


@pytest.mark.parametrize("p", PRIMES)
def test_discrete_logarithm(p):
    logarithm = features.discrete_logarithm(p)
    assert logarithm.shape == (p,)
    assert sorted(logarithm[1:]) == list(range(p - 1))
    generator = 1 if p == 2 else int(np.flatnonzero(logarithm == 1)[0])
    for residue in range(1, p):
        assert pow(generator, int(logarithm[residue]), p) == residue


def test_smallest_primitive_roots():
    known = {3: 2, 5: 2, 7: 3, 41: 6, 43: 3, 47: 5, 61: 2, 67: 2, 97: 5, 191: 19}
    for p, generator in known.items():
        assert features.discrete_logarithm(p)[generator] == 1


@pytest.mark.parametrize("p", [5, 7, 13])
def test_reordering_makes_functions_of_products_hankel(p):
    values = np.random.default_rng(1).normal(size=p)
    i, j = np.indices((p, p))
    M = np.zeros((2 * p, 2 * p))
    M[p:, :p] = values[i * j % p]
    assert features.circulant_deviation(features.cross_block(M, "x+y")) > 1e-3
    block = features.cross_block(M, "x*y")
    assert block.shape == (p - 1, p - 1)
    assert features.circulant_deviation(block, "hankel") < 1e-12


def test_reordering_keeps_index_zero_first():
    reordered = features.reorder_by_discrete_logarithm(np.diag(np.arange(10.0)), 5)
    np.testing.assert_array_equal(np.diag(reordered), [0, 1, 2, 4, 3, 5, 6, 7, 9, 8])


def test_alignment():
    A = np.arange(9.0).reshape(3, 3)
    assert features.alignment(A, 2 * A) == pytest.approx(1)
    assert features.alignment(A, -A) == pytest.approx(-1)
    assert np.isnan(features.alignment(A, 0 * A))


def test_spectrum_and_effective_rank():
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    M = 3 * Q[:, :5] @ Q[:, :5].T
    np.testing.assert_allclose(features.spectrum(M), [3] * 5 + [0] * 3, atol=1e-12)
    assert features.effective_rank(M) == pytest.approx(5)
    assert np.isnan(features.effective_rank(np.zeros((2, 2))))


@pytest.mark.parametrize("p", [2, 5, 13])
@pytest.mark.parametrize("operation", features.ORIENTATIONS)
def test_random_circulant(operation, p):
    M = features.random_circulant(operation, p, seed=3)
    np.testing.assert_array_equal(M, features.random_circulant(operation, p, seed=3))
    assert p == 2 or np.abs(M - features.random_circulant(operation, p, seed=4)).max() > 1e-3
    np.testing.assert_array_equal(M, M.T)
    assert features.spectrum(M).min() > -1e-12
    block = features.cross_block(M, operation)
    if np.abs(block).max() > 1e-12:
        assert features.circulant_deviation(block, features.ORIENTATIONS[operation]) < 1e-12


def test_random_circulant_before_the_root_is_indefinite():
    p = 61
    first = np.random.default_rng(0).uniform(size=p)
    C, A = features.circulant(first - first.mean()), np.eye(p) - 1 / p
    eigenvalues = features.spectrum(np.block([[A, C.T], [C, A]]))
    M = features.random_circulant("x+y", p, 0)
    np.testing.assert_allclose(
        np.sort(features.spectrum(M)), np.sort(np.sqrt(np.maximum(eigenvalues, 0))), atol=1e-6
    )
    negative = -eigenvalues[eigenvalues < 0].sum() / np.abs(eigenvalues).sum()
    assert 0.2 < negative < 0.35


@pytest.mark.parametrize("operation", features.ORIENTATIONS)
def test_enforced_structure(operation):
    p = 7
    rng = np.random.default_rng(0)
    F = rng.normal(size=(2 * p, 2 * p))
    M = F @ F.T
    result = features.enforce_structure(M, operation)
    np.testing.assert_array_equal(result, result.T)
    np.testing.assert_allclose(result[:p, :p], np.eye(p) - 1 / p)
    np.testing.assert_allclose(result[p:, p:], np.eye(p) - 1 / p)
    block = features.cross_block(result, operation)
    assert features.circulant_deviation(block, features.ORIENTATIONS[operation]) < 1e-12
    scale = 1 / np.sqrt(np.diag(M))
    kept = features.cross_block(M * np.outer(scale, scale), operation)
    np.testing.assert_allclose(block[:, 0], kept[:, 0])


def test_circulant_matrices():
    column = np.arange(4.0)
    C, H = features.circulant(column), features.circulant(column, "hankel")
    np.testing.assert_array_equal(C, circulant(column))
    np.testing.assert_array_equal(H, hankel(column))


@pytest.mark.parametrize(
    "message, call",
    [
        ("M: expected a square matrix", lambda: features.effective_rank(np.ones((2, 3)))),
        ("M: expected a square matrix", lambda: features.spectrum(np.ones(3))),
        ("M: expected a symmetric matrix", lambda: features.spectrum(np.triu(np.ones((2, 2))))),
        ("M: expected finite entries, got nan", lambda: features.effective_rank([[np.nan]])),
        ("block: .*rows of different", lambda: features.circulant_deviation([[1, 2], [3]])),
        ("operation: expected one of x[+]y", lambda: features.random_circulant("x^2+y", 5)),
        ("needs a prime modulus, got 6", lambda: features.random_circulant("x*y", 6)),
        ("seed: expected an integer >= 0", lambda: features.random_circulant("x+y", 5, -1)),
        (r"M: expected shape \(2p, 2p\)", lambda: features.enforce_structure(np.eye(5))),
        (
            "M: expected a positive diagonal, got 0 on it",
            lambda: features.enforce_structure(np.zeros((6, 6))),
        ),
        ("needs a prime modulus, got 6", lambda: features.enforce_structure(np.eye(12), "x/y")),
        (r"first_column: expected shape \(p,\)", lambda: features.circulant(np.eye(2))),
        (
            r"block: expected a square matrix, got shape \(2, 3\)",
            lambda: features.circulant_deviation(np.ones((2, 3))),
        ),
        (
            "orientation: expected one of best",
            lambda: features.circulant_deviation(np.eye(2), "left"),
        ),
        (
            "normalize: expected one of sum",
            lambda: features.circulant_deviation(np.eye(2), normalize="max"),
        ),
        ("needs a prime modulus, got 6", lambda: features.discrete_logarithm(6)),
        (
            "M: expected a square matrix with a multiple of 5 rows",
            lambda: features.reorder_by_discrete_logarithm(np.eye(6), 5),
        ),
        (r"M: expected shape \(2p, 2p\)", lambda: features.cross_block(np.eye(3))),
        ("B: expected the shape of A", lambda: features.alignment(np.eye(2), np.eye(3))),
    ],
)
def test_bad_input(message, call):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_measures_do_not_depend_on_how_many_rows_are_read_at_a_time(rows, monkeypatch):
    rng = np.random.default_rng(0)
    M, N = rng.normal(size=(2, 22, 22)).astype("float32")
    M = M + M.T

    def measured():
        for operation in ("x+y", "x*y"):
            block = features.cross_block(M, operation)
            as_it_is = features.cross_block(M, operation, dtype=None)
            assert as_it_is.dtype == "float32"
            np.testing.assert_array_equal(as_it_is, block)
            for orientation in ("circulant", "hankel", "best"):
                deviation = features.circulant_deviation(block, orientation)
                assert features.circulant_deviation(as_it_is, orientation) == deviation
                yield deviation
        yield features.alignment(M, N)
        yield features.effective_rank(M)

    expected = list(measured())
    assert expected[0] == pytest.approx(features.circulant_deviation(M[11:, :11], "circulant"))
    monkeypatch.setattr("grokrfm.analysis.features._WIDTH", rows)
    np.testing.assert_allclose(list(measured()), expected, rtol=1e-12)


def test_measures_of_large_matrices_copy_parts_alone(monkeypatch):
    """A float64 copy would take twice the matrix."""
    monkeypatch.setattr("grokrfm.analysis.features._WIDTH", 20)
    M = np.random.default_rng(0).normal(size=(1000, 1000)).astype("float32")
    for measure in (
        lambda: features.circulant_deviation(features.cross_block(M, dtype=None)),
        lambda: features.alignment(M, M),
        lambda: features.effective_rank(M),
    ):
        tracemalloc.start()
        measure()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < M.nbytes
