"""Trajectories of the published algorithm in float64: accuracies exactly, traces to 1e-6."""

import json
from pathlib import Path

import numpy as np
import pytest
from grokrfm import RFMClassifier

FILES = sorted((Path(__file__).parents[1] / "data").glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_trajectory(path, backend):
    golden = json.loads(path.read_text())
    rounds, p = golden["rounds"], golden["modulus"]
    model = RFMClassifier(
        p,
        kernel=golden["kernel"],
        iterations=len(rounds),
        bandwidth=golden["bandwidth"],
        ridge=golden["ridge"],
        agop_power=golden["agop_power"],
        centering=golden["centering"],
        backend=backend,
        solver="cholesky",
        dtype="float64",
    )
    model.fit(
        golden["train_pairs"],
        golden["train_labels"],
        eval_set=(golden["test_pairs"], golden["test_labels"]),
    )

    def column(key):
        return np.array([entry[key] for entry in rounds])

    history = {key: values[:-1] for key, values in model.history_.items()}
    np.testing.assert_array_equal(history["test_accuracy"], column("test_accuracy"))
    np.testing.assert_allclose(history["test_mse"], column("test_mse"), rtol=1e-6)
    np.testing.assert_allclose(
        history["test_correct_class_mse"], column("test_correct_class_mse"), rtol=1e-6
    )
    np.testing.assert_array_less(history["train_mse"], 1e-12)
    matrices = model.feature_matrices_[1:]  # the golden rows hold M_{t+1}
    np.testing.assert_allclose(
        np.trace(matrices, axis1=1, axis2=2), column("trace_of_next_M"), rtol=1e-6
    )
    np.testing.assert_allclose(
        np.linalg.norm(matrices, axis=(1, 2)), column("frobenius_of_next_M"), rtol=1e-6
    )
    for key, (i, j) in {"0,1": (0, 1), "0,p": (0, p), "3,p+5": (3, p + 5)}.items():
        expected = column(f"next_M[{key}]")
        # Entries of index b = 0 are zero for division, up to the square root of rounding errors.
        bound = 1e-6 * max(np.abs(expected).max(), 1e-2)
        np.testing.assert_allclose(matrices[:, i, j], expected, atol=bound)
