"""Checks of arguments: the bounds themselves, and what comes back."""

import numpy as np
import pytest
from grokrfm import checks


def test_integers():
    assert checks.check_integer("n", np.int32(3), minimum=3, maximum=3) == 3
    assert type(checks.check_integer("n", np.int64(-3))) is int
    for value, bounds, said in [
        (2, {"minimum": 3}, "n: expected an integer >= 3, got 2"),
        (2, {"minimum": 3, "maximum": 5}, "n: expected an integer from 3 to 5, got 2"),
        (6, {"minimum": 3, "maximum": 5}, "n: expected an integer from 3 to 5, got 6"),
    ]:
        with pytest.raises(ValueError, match=f"^{said}$"):
            checks.check_integer("n", value, **bounds)
    for value in (True, 1.0, "1", None):
        with pytest.raises(TypeError, match="n: expected an integer, got"):
            checks.check_integer("n", value)


def test_reals_and_fractions():
    assert checks.check_real("s", 0) == 0.0 and checks.check_real("s", np.float32(0.5)) == 0.5
    assert checks.check_fraction("r", 0, zero=True) == 0.0
    for call in (
        lambda: checks.check_real("s", 0, positive=True),
        lambda: checks.check_real("s", -1e-300),
        lambda: checks.check_real("s", float("nan")),
        lambda: checks.check_fraction("r", 0),
        lambda: checks.check_fraction("r", 1, zero=True),
    ):
        with pytest.raises(ValueError, match="expected a"):
            call()
    for check in (checks.check_real, checks.check_fraction):
        for value in (True, "0.5", None, 0.5j):
            with pytest.raises(TypeError, match="x: expected a real number, got"):
                check("x", value)


def test_pairs_and_labels():
    pairs = checks.check_pairs("X", [[0, 4], [4, 0]], 5)
    assert pairs.dtype == np.int64 and pairs.tolist() == [[0, 4], [4, 0]]
    assert checks.check_pairs("X", [[0, 4, 1]], 5, n_tasks=2).shape == (1, 3)
    assert checks.check_labels("y", np.array([4, 0], np.uint8), 2, 5).dtype == np.int64
    for bad in ([[0, 5]], [[-1, 0]], [[0, 4, 2]], [[0, 4, -1]]):
        with pytest.raises(ValueError, match=r"X: expected (residues|tasks) in"):
            checks.check_pairs("X", bad, 5, n_tasks=len(bad[0]) - 1)
    for bad in ([5], [-1]):
        with pytest.raises(ValueError, match=r"y: expected labels in \[0, 5\)"):
            checks.check_labels("y", bad, 1, 5)


def test_one_label_a_pair():
    checks.check_consistent(np.array([[1, 2], [2, 1], [1, 2]]), np.array([3, 0, 3]))
    checks.check_consistent(np.array([[1, 2, 0], [1, 2, 1]]), np.array([3, 0]))
    with pytest.raises(ValueError, match=r"got 0 and 3 for the pair \(1, 2\)"):
        checks.check_consistent(np.array([[1, 2], [2, 1], [1, 2]]), np.array([3, 1, 0]))


def test_matrices_come_back_in_double():
    for dtype in (int, np.float32, np.uint8):
        assert checks.check_square("M", np.eye(3, dtype=dtype)).dtype == np.float64
    nearly = np.array([[1.0, 2.0], [2.0 + 1e-5, 1.0]])
    symmetric = checks.check_symmetric("M", nearly)
    np.testing.assert_array_equal(symmetric, symmetric.T)
    assert symmetric[0, 1] == pytest.approx(2 + 5e-6, abs=1e-9)
    with pytest.raises(ValueError, match="entries that differ by 3e-05 from their mirror"):
        checks.check_symmetric("M", nearly + np.array([[0, 0], [2e-5, 0]]))
    zeros = np.array([[1.0, 1e-9], [0.0, 1.0]])  # of the largest entry, that is
    assert checks.check_symmetric("M", zeros)[0, 1] == 5e-10
    matrix, p = checks.check_blocks("M", np.eye(6))
    assert matrix.shape == (6, 6) and p == 3
    for bad in (np.eye(3), np.ones((2, 4)), np.empty((0, 0))):
        with pytest.raises(ValueError, match="M: expected"):
            checks.check_blocks("M", bad)
