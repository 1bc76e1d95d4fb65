import numpy as np
import pytest
from grokrfm import ModularTask, RFMClassifier, features, fourier
from hypothesis import given
from hypothesis import strategies as st

OPERATIONS = tuple(features.ORIENTATIONS)


@pytest.mark.parametrize("p", [2, 3, 5, 13, 61])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_algorithm_gives_one_hot_labels_of_every_pair(operation, p):
    task = ModularTask(operation, p)
    outputs = fourier.fourier_multiplication(task.pairs, p, operation)
    np.testing.assert_allclose(outputs, np.eye(p)[task.labels], atol=1e-12)


def test_algorithm_adds_and_subtracts_modulo_composites():
    for operation in ("x+y", "x-y"):
        task = ModularTask(operation, 12)
        outputs = fourier.fourier_multiplication(task.pairs, 12, operation)
        np.testing.assert_array_equal(outputs.argmax(axis=1), task.labels)


@pytest.mark.parametrize("p", [2, 5, 7, 11, 13])
@pytest.mark.parametrize("operation", ["x+y", "x-y"])
def test_theorem_holds_for_every_class(operation, p):
    check = fourier.check_theorem(p, operation)
    assert check.difference.shape == (p,)
    assert check.difference.max() < 1e-10
    np.testing.assert_allclose(check.condition, p + 1, rtol=1e-9)


def kernel_machine(B):
    """Of theorem 5.1 with cross block B, trained on the pairs where B has its line: outputs of
    dense inputs (n, 2p)."""
    p = len(B)
    M = np.block([[np.zeros((p, p)), B], [B.T, np.zeros((p, p))]])
    eye = np.eye(p)
    X = np.array([np.concatenate([eye[a], eye[b]]) for a in range(p) for b in range(p)])
    targets = B.ravel()
    alpha = np.linalg.solve((X @ M @ X.T) ** 2, targets)
    return lambda Z: (Z @ M @ X.T) ** 2 @ alpha


@pytest.mark.parametrize("p", [5, 8])
def test_theorem_away_from_unit_vectors(p):
    """The equality does not extend there: two more terms appear, the same for all classes."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(20, 2 * p))
    first, second = Z[:, :p], Z[:, p:]
    for label in range(p):
        B = features.circulant(np.eye(p)[label])
        plain = np.einsum("ni,ij,nj->n", first, B, second)
        more = (Z**2).sum(axis=1) / (2 * p + 2) - first.sum(axis=1) * second.sum(axis=1) / (p + 1)
        np.testing.assert_allclose(kernel_machine(B)(Z), plain + more, atol=1e-9)


def test_theorem_as_printed_needs_the_opposite_class():
    """C with first row e₁ (counted from 0), R the reversal: C^ℓ and C^ℓ R are those of −ℓ."""
    p = 7
    C = np.roll(np.eye(p), 1, axis=1)
    R = features.circulant(np.eye(p)[0], "hankel")
    for label in range(p):
        opposite = np.eye(p)[(p - label) % p]
        power = np.linalg.matrix_power(C, label)
        np.testing.assert_array_equal(power, features.circulant(opposite))
        np.testing.assert_array_equal(power @ R, features.circulant(opposite, "hankel"))


@given(p=st.integers(2, 12), seed=st.integers(0, 1000))
def test_energy_on_a_line_is_what_the_deviation_leaves(p, seed):
    block = np.random.default_rng(seed).normal(size=(p, p))
    for orientation in ("circulant", "hankel"):
        energies = fourier.line_energies(block, orientation)
        deviation = features.circulant_deviation(block, orientation)
        assert energies.sum() == pytest.approx(1 - deviation)
        np.testing.assert_allclose(energies[1:], energies[1:][::-1], atol=1e-12)  # a real block


def test_single_frequency():
    p, k = 11, 3
    block = features.circulant(np.cos(2 * np.pi * k * np.arange(p) / p))
    energies = fourier.line_energies(block, "circulant")
    np.testing.assert_allclose(energies[[k, p - k]], 0.5)
    for scale in (1, 3):  # of the share of each frequency, whatever the sum
        assert fourier.inverse_participation_ratio(scale * energies) == pytest.approx(0.5)
    flat = fourier.line_energies(features.circulant(np.eye(p)[0] - 1 / p), "circulant")
    assert fourier.inverse_participation_ratio(flat) == pytest.approx(1 / (p - 1))
    assert np.isnan(fourier.inverse_participation_ratio(np.ones(1)))
    assert np.isnan(fourier.line_energies(np.zeros((3, 3)), "hankel")).all()


def test_agreement_with_a_trained_machine():
    split = ModularTask("x*y", 61).split(0.5)
    early, late = (
        RFMClassifier(61, iterations=t).fit(split.X_train, split.y_train) for t in (0, 28)
    )
    before, after = (fourier.agreement(model, split.X_test, 61, "x*y") for model in (early, late))
    assert before.predictions < 0.05 and after.predictions > 0.99
    assert before.outputs < 0.1 and after.outputs > 0.6


def agree_with_another_modulus():
    split = ModularTask("x+y", 7).split(0.5)
    model = RFMClassifier(7, iterations=0).fit(split.X_train, split.y_train)
    return fourier.agreement(model, [[1, 2]], 5, "x+y")


@pytest.mark.parametrize(
    "error, message, call",
    [
        (
            ValueError,
            "operation: expected one of x[+]y, x-y",
            lambda: fourier.fourier_multiplication([[0, 1]], 5, "x^2+y^2"),
        ),
        (
            ValueError,
            "needs a prime modulus, got 6",
            lambda: fourier.fourier_multiplication([[1, 1]], 6, "x*y"),
        ),
        (
            ValueError,
            "X: expected a second operand other than 0",
            lambda: fourier.fourier_multiplication([[1, 0]], 5, "x/y"),
        ),
        (
            ValueError,
            r"X: expected residues in \[0, 5\)",
            lambda: fourier.fourier_multiplication([[1, 5]], 5),
        ),
        (TypeError, "modulus: expected an integer", lambda: fourier.check_theorem(5.0)),
        (
            ValueError,
            "operation: expected one of x-y, x[+]y",
            lambda: fourier.check_theorem(5, "x*y"),
        ),
        (
            ValueError,
            "block: expected a square matrix",
            lambda: fourier.block_spectrum(np.ones((2, 3))),
        ),
        (ValueError, "model: expected outputs of shape", lambda: agree_with_another_modulus()),
        (ValueError, "block: expected finite", lambda: fourier.block_spectrum([[np.nan]])),
        (TypeError, "block: expected a real dtype", lambda: fourier.block_spectrum([[1j]])),
        (ValueError, "orientation: expected", lambda: fourier.line_energies(np.eye(3), "left")),
        (
            ValueError,
            "X: expected at least one pair",
            lambda: fourier.agreement(None, np.empty((0, 2), int), 5, "x+y"),
        ),
    ],
)
def test_bad_input(error, message, call):
    with pytest.raises(error, match=message):
        call()
