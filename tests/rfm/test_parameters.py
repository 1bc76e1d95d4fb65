"""Parameters of the RFM: defaults, backends, memory, and what is refused before any work."""

import logging

import numpy as np
import pytest
from grokrfm import ModularTask, NotFittedError, RFMClassifier
from grokrfm.operations import memory
from sklearn.base import clone

SPLIT = ModularTask("x+y", 7).split()


def test_defaults():
    assert RFMClassifier(61).get_params() == {
        "modulus": 61,
        "kernel": "quadratic",
        "iterations": 30,
        "bandwidth": 2.5,
        "ridge": 0.0,
        "agop_power": 0.5,
        "centering": "per_class",
        "backend": "auto",
        "solver": "auto",
        "dtype": "float32",
        "tol": 1e-5,
        "depth": 1,
        "n_classes": None,
        "n_tasks": 1,
        "feature_update": "agop",
        "agop_classes": None,
        "eval_pairs": None,
        "seed": 0,
        "keep_features": "all",
    }


def test_scikit_learn_conventions():
    model = RFMClassifier(7, kernel="laplace", iterations=2)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert copy.set_params(bandwidth=1.0) is copy and copy.bandwidth == 1.0
    assert repr(copy) == "RFMClassifier(modulus=7, kernel='laplace', iterations=2, bandwidth=1.0)"
    assert eval(repr(copy)).get_params() == copy.get_params()
    assert repr(copy.set_params(bandwidth=np.ones(2))).endswith("bandwidth=array([1., 1.]))")
    with pytest.raises(ValueError, match="widths: not a parameter"):
        copy.set_params(widths=1)


def test_backend_choice_is_logged(caplog):
    with caplog.at_level(logging.INFO, logger="grokrfm"):
        RFMClassifier(7, iterations=0).fit(SPLIT)
    assert "auto chose cpp" in caplog.text


@pytest.mark.parametrize("backend", ["cuda", "cupy"])
def test_backends_that_cannot_be_had_are_refused(backend, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)  # as if it were not installed
    with pytest.raises(RuntimeError, match=f"backend: '{backend}'"):
        RFMClassifier(7, backend=backend).fit(SPLIT)


def test_memory_is_checked_before_any_work(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    with pytest.raises(MemoryError, match=r"24 training pairs needs .* GB, 0.00 GB are available"):
        RFMClassifier(7, dtype="float64").fit(SPLIT)


def test_memory_of_this_machine_is_known():
    assert memory.available_bytes() > 10**6


def bad_fits():
    X, y = [[0, 1], [1, 1]], [1, 2]
    asymmetric = np.triu(np.ones((10, 10)))
    infinite = np.diag([np.inf] + [1.0] * 9)
    for parameters, error, message in [
        ({"modulus": 5.0}, TypeError, "modulus: expected an integer, got 5.0"),
        ({"modulus": 1}, ValueError, "modulus: expected an integer >= 2, got 1"),
        ({"kernel": "cubic"}, ValueError, "kernel: expected one of quadratic, .*; got 'cubic'"),
        ({"backend": "metal"}, ValueError, "backend: expected one of auto, .*; got 'metal'"),
        ({"solver": "lu"}, ValueError, "solver: expected one of auto, .*; got 'lu'"),
        (
            {"dtype": "float16"},
            ValueError,
            "dtype: expected one of float32, float64; got 'float16'",
        ),
        ({"centering": "all"}, ValueError, "centering: expected one of per_class, none"),
        ({"iterations": -1}, ValueError, "iterations: expected an integer >= 0, got -1"),
        ({"bandwidth": -2.0}, ValueError, "bandwidth: expected a finite number > 0, got -2.0"),
        ({"ridge": -1e-3}, ValueError, "ridge: expected a finite number >= 0, got -0.001"),
        ({"ridge": float("inf")}, ValueError, "ridge: expected a finite number >= 0, got inf"),
        ({"ridge": 1e300}, ValueError, r"ridge: expected a number of float32, <= 3.4e\+38, got 1e"),
        (
            {"kernel": "gaussian", "bandwidth": 1e300},
            ValueError,
            r"bandwidth: expected a number from 1e-150 to 1e150, got 1e\+300",
        ),
        (
            {"kernel": "gaussian", "bandwidth": 1e-300},
            ValueError,
            "bandwidth: expected a number from 1e-150 to 1e150, got 1e-300",
        ),
        ({"agop_power": 0}, ValueError, "agop_power: expected a finite number > 0, got 0"),
        ({"tol": "small"}, TypeError, "tol: expected a real number, got 'small'"),
        ({"depth": 0}, ValueError, "depth: expected an integer from 1 to 100, got 0"),
        ({"n_classes": 0}, ValueError, "n_classes: expected an integer >= 1, got 0"),
        ({"n_tasks": 0}, ValueError, "n_tasks: expected an integer >= 1, got 0"),
    ]:
        yield pytest.param(parameters, (X, y), {}, error, message, id=message)
    for data, error, message in [
        (([[0.0, 1.0]], [1]), TypeError, "X: expected an integer dtype, got float64"),
        (([0, 1], [1, 1]), ValueError, r"X: expected 2 axes, got shape \(2,\)"),
        (([[0, 1, 2]], [1]), ValueError, r"X: expected shape \(n, 2\), got \(1, 3\)"),
        (([[0, 5]], [1]), ValueError, r"X: expected residues in \[0, 5\), got 5"),
        (([[0, -1]], [1]), ValueError, r"X: expected residues in \[0, 5\), got -1"),
        ((X, [1.0, 0.5]), TypeError, "y: expected an integer dtype, got float64"),
        ((X, [1]), ValueError, "y: expected 2 labels, one a pair, got 1"),
        ((np.empty((0, 2), int), []), ValueError, "X: expected at least one training pair"),
        (
            ([[0, 1], [2, 2], [0, 1]], [1, 4, 2]),
            ValueError,
            r"y: expected one label a pair, got 1 and 2 for the pair \(0, 1\)",
        ),
    ]:
        yield pytest.param({}, data, {}, error, message, id=message)
    for options, error, message in [
        (
            {"feature_matrix": np.eye(4)},
            ValueError,
            r"feature_matrix: expected shape \(10, 10\), got \(4, 4\)",
        ),
        ({"feature_matrix": asymmetric}, ValueError, "feature_matrix: expected a symmetric matrix"),
        ({"feature_matrix": infinite}, ValueError, "feature_matrix: expected finite entries"),
        (
            {"feature_matrix": np.eye(10) * 1j},
            TypeError,
            "feature_matrix: expected a real dtype, got complex128",
        ),
        ({"eval_set": np.ones(3)}, TypeError, r"eval_set: expected a tuple \(X_test, y_test\)"),
        ({"eval_set": ([[0, 9]], [0])}, ValueError, r"eval_set\[0\]: expected residues"),
    ]:
        yield pytest.param({}, (X, y), options, error, message, id=message)


@pytest.mark.parametrize("parameters, data, options, error, message", list(bad_fits()))
def test_bad_input(parameters, data, options, error, message, monkeypatch):
    monkeypatch.setattr(
        "grokrfm.rfm.classifier.make_operations", lambda name: pytest.fail("work began")
    )
    model = RFMClassifier(**{"modulus": 5, **parameters})
    with pytest.raises(error, match=message) as caught:
        model.fit(*data, **options)
    assert "\n" not in str(caught.value)


def test_use_before_fit():
    for call in (RFMClassifier(5).predict, RFMClassifier(5).decision_function):
        with pytest.raises(NotFittedError, match="expected a call of fit"):
            call([[0, 1]])
