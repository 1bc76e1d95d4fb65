"""Arguments that look like numbers and are none that can be used."""

from fractions import Fraction

import numpy as np
import pytest
from grokrfm import FCNClassifier, ModularTask, RFMClassifier, fourier
from grokrfm.checks import check_square

TASK = ModularTask("x+y", 5)
X, y = [[0, 1], [1, 1]], [1, 2]


def masked(values):
    return np.ma.masked_array(values, mask=np.ones(np.shape(values), bool))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: TASK.split(label_noise=10**400), ValueError, r"label_noise: .* \[0, 1\), got inf"),
        (lambda: TASK.split(-(10**400)), ValueError, r"train_fraction: .* \(0, 1\), got -inf"),
        (
            lambda: RFMClassifier(5, ridge=Fraction(10**400, 3)).fit(X, y),
            ValueError,
            "ridge: expected a finite number >= 0, got inf",
        ),
        (
            lambda: RFMClassifier(5, bandwidth=-(10**400)).fit(X, y),
            ValueError,
            "bandwidth: .* -inf",
        ),
        (
            lambda: RFMClassifier(5).fit(masked(X), y),
            ValueError,
            "X: expected no masked entries, got 4",
        ),
        (lambda: RFMClassifier(5).fit(X, masked(y)), ValueError, "y: expected no masked entries"),
        (
            lambda: RFMClassifier(5).fit(np.ma.masked_equal(X, 0), y),
            ValueError,
            "X: expected no masked entries, got 1",
        ),
        (lambda: ModularTask.from_table(masked([[0, 1], [1, 0]])), ValueError, "table: .* masked"),
        (lambda: check_square("M", masked(np.eye(2))), ValueError, "M: expected no masked entries"),
        (
            lambda: RFMClassifier(5).fit(np.array(X, "timedelta64[s]"), y),
            TypeError,
            "X: expected an integer dtype, got timedelta64",
        ),
        (
            lambda: ModularTask.from_table(np.array([[0, 1], [1, 2**64 - 1]], np.uint64)),
            ValueError,
            "table: expected integers of 64 bits, got 18446744073709551615",
        ),
        (
            lambda: FCNClassifier(5).fit(X, np.array([1, 2**63], np.uint64)),
            ValueError,
            "y: expected integers of 64 bits",
        ),
        (lambda: fourier.inverse_participation_ratio(3.0), ValueError, r"energies: .* got \(\)"),
        (
            lambda: fourier.inverse_participation_ratio(np.eye(3)),
            ValueError,
            r"energies: .*\(3, 3\)",
        ),
        (
            lambda: FCNClassifier(5, backend="cuda-tf32").fit(X, y),
            ValueError,
            "backend: expected one of auto, cpp, cuda, cupy, numpy; got 'cuda-tf32'",
        ),
    ],
)
def test_refused_in_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_masked_arrays_without_masked_entries_are_arrays():
    split = TASK.split()
    plain, unmasked = (
        RFMClassifier(5, iterations=1).fit(make(split.X_train), make(split.y_train))
        for make in (np.asarray, np.ma.masked_array)
    )
    np.testing.assert_array_equal(plain.feature_matrix_, unmasked.feature_matrix_)
    assert ModularTask.from_table(np.array([[0, 1], [1, 0]], np.uint64)).n_classes == 2
