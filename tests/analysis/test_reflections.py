"""Reflections of x + y: their matrices, orbits, and what machines that know one get right."""

import numpy as np
import pytest
from grokrfm import ModularTask, RFMClassifier, features
from grokrfm.tasks import reflect


def one_hot(pairs, p):
    return np.eye(p)[pairs].reshape(len(pairs), 2 * p)


@pytest.mark.parametrize("p", [2, 7, 8])
def test_the_matrix_is_the_reflection_of_pairs(p):
    pairs = ModularTask("x+y", p).pairs
    for k in range(p):
        R, images = features.reflection_matrix(p, k), reflect(pairs, p, k)
        np.testing.assert_array_equal(one_hot(pairs, p) @ R.T, one_hot(images, p))
        np.testing.assert_array_equal(R, R.T)
        np.testing.assert_array_equal(R @ R, np.eye(2 * p))
        np.testing.assert_array_equal(pairs.sum(axis=1) % p, images.sum(axis=1) % p)
        assert features.circulant_deviation(features.cross_block(R), "circulant") < 1e-12
        fixed = pairs[(pairs == images).all(axis=1)]
        np.testing.assert_array_equal((fixed[:, 0] + k) % p, fixed[:, 1])
        # The cross block is 1 at the fixed points alone.
        assert (R[p + fixed[:, 1], fixed[:, 0]] == 1).all() and R[p:, :p].sum() == len(fixed) == p
    np.testing.assert_array_equal(
        features.reflection_matrix(p, p + 1), features.reflection_matrix(p, 1)
    )


def test_products_of_reflections_are_rotations():
    """s rʲ s rᵏ = rᵏ⁻ʲ of the dihedral group: (a, b) ↦ (a + k − j, b − k + j)."""
    p, pairs = 7, ModularTask("x+y", 7).pairs
    for j, k in ((0, 1), (3, 5), (6, 2)):
        turned = reflect(reflect(pairs, p, k), p, j)
        np.testing.assert_array_equal(turned, (pairs + np.array([k - j, j - k])) % p)


def test_orbit():
    p, k = 11, 4
    split = ModularTask("x+y", p).split(0.4, seed=3)
    train = {tuple(pair) for pair in split.X_train.tolist()}
    expected = [((b - k) % p, (a + k) % p) in train for a, b in split.X_test.tolist()]
    np.testing.assert_array_equal(features.orbit(split.X_test, split.X_train, p, k), expected)
    assert 0 < sum(expected) < len(expected)
    assert features.orbit(split.X_train, split.X_train, p, k).all()


@pytest.mark.parametrize("kernel", ["quadratic", "gaussian"])
def test_started_from_a_reflection_a_machine_knows_it_and_nothing_else(kernel):
    """At 70 % of the pairs the identity groks, I + R stays with the orbit of the training set."""
    p, k = 29, 3
    split = ModularTask("x+y", p).split(0.7, seed=0)
    R = features.reflection_matrix(p, k)
    model = RFMClassifier(p, kernel=kernel, iterations=10, dtype="float64", ridge=1e-6)
    model.fit(split, feature_matrix=np.eye(2 * p) + R)
    np.testing.assert_allclose(R @ model.feature_matrix_, model.feature_matrix_, atol=1e-6)
    right = model.predict(split.X_test) == split.y_test
    within = features.orbit(split.X_test, split.X_train, p, k)
    assert right[within].all()
    assert within[right].mean() > 0.99
    other = features.orbit(split.X_test, split.X_train, p, k + 1)
    assert right[other].mean() < 0.8
    assert RFMClassifier(p, kernel=kernel).fit(split).score(split.X_test, split.y_test) > 0.98


def test_bad_input():
    with pytest.raises(ValueError, match="modulus: expected an integer >= 2, got 1"):
        features.reflection_matrix(1)
    with pytest.raises(TypeError, match=r"k: expected an integer, got 0\.5"):
        features.reflection_matrix(5, 0.5)
    with pytest.raises(ValueError, match=r"X_train: expected residues in \[0, 5\), got 5"):
        features.orbit([[0, 1]], [[5, 0]], 5)
    with pytest.raises(ValueError, match=r"X: expected shape \(n, 2\), got \(1, 3\)"):
        features.orbit([[0, 1, 0]], [[1, 0]], 5)
