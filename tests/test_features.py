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
    generator = 1 if p == 2 else int(np.flatnonzero(logarithm == 1)[0]) if p > 2 else 1
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


@pytest.mark.parametrize(
    "message, call",
    [
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
