"""Kernels of one's own: the same run as a built-in formula, and every mistake named."""

import copy
import logging
import pickle

import numpy as np
import pytest
from grokrfm import CustomKernel, ModularTask, MultiTask, RFMClassifier, fit_many
from grokrfm.operations import FittedBackend, backends
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

SPLIT = ModularTask("x+y", 7).split()


def gaussian(s, q_x, q_z, xp):
    return xp.exp(-0.08 * xp.maximum(q_x + q_z - 2 * s, 0))


def gaussian_slopes(s, q_x, q_z, xp):
    d_s = 0.16 * gaussian(s, q_x, q_z, xp)
    return d_s, -0.5 * d_s


def square(s, q_x, q_z, xp):
    return 3 * s**2


def square_slopes(s, q_x, q_z, xp):
    return 6 * s, 0


GAUSSIAN = CustomKernel("my_gaussian", gaussian, gaussian_slopes)
SQUARE = CustomKernel("my_square", square, square_slopes)
PAIRS = [("gaussian", GAUSSIAN), ("quadratic", SQUARE)]


def assert_same_run(first, second, tolerance):
    for key in set(first.history_) - {"seconds"}:
        np.testing.assert_allclose(
            first.history_[key], second.history_[key], rtol=tolerance, atol=tolerance, err_msg=key
        )
    np.testing.assert_allclose(
        first.feature_matrix_, second.feature_matrix_, rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("built_in, kernel", PAIRS)
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-9), ("float32", 1e-3)])
def test_the_run_is_that_of_the_built_in_formula(built_in, kernel, dtype, tolerance):
    given = {"iterations": 3, "dtype": dtype, "ridge": 1e-3}
    own = RFMClassifier(7, kernel=kernel, **given).fit(SPLIT)
    reference = RFMClassifier(7, kernel=built_in, backend="numpy", solver="cholesky", **given)
    assert_same_run(own, reference.fit(SPLIT), tolerance)
    assert own.feature_matrix_.dtype == own.decision_function(SPLIT.X_test).dtype == dtype
    np.testing.assert_allclose(own.agop(), reference.agop(), rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(own.predict(SPLIT.X_train), SPLIT.y_train)
    assert own.solver_ == "cholesky"
    assert_same_run(own.at_iteration(3), own.at_iteration(3), 0)


def test_conjugate_gradients():
    given = {"iterations": 2, "dtype": "float64", "solver": "cg", "tol": 1e-11, "ridge": 1e-3}
    own, reference = (
        RFMClassifier(7, kernel=kernel, backend="numpy", **given).fit(SPLIT)
        for kernel in (GAUSSIAN, "gaussian")
    )
    assert own.solver_ == "cg" and own.history_["cg_iterations"].min() > 0
    assert_same_run(own, reference, 1e-9)


def test_several_tasks():
    task = MultiTask(["x+y", "x-y"], 5)
    given = {"iterations": 2, "dtype": "float64", "ridge": 1e-3}
    own, built_in = (
        RFMClassifier.for_task(task, kernel=kernel, backend="numpy", **given).fit(task.split(0.7))
        for kernel in (GAUSSIAN, "gaussian")
    )
    assert_same_run(own, built_in, 1e-9)


def test_conventions():
    model = RFMClassifier(7, kernel=GAUSSIAN, iterations=1, ridge=1e-3)
    assert model.get_params()["kernel"] is GAUSSIAN
    assert clone(model).get_params() == model.get_params()
    assert "kernel=CustomKernel('my_gaussian')" in repr(model)
    assert pickle.loads(pickle.dumps(GAUSSIAN)) == GAUSSIAN != SQUARE
    assert CustomKernel("my_gaussian", square, square_slopes) != GAUSSIAN
    fitted = model.fit(SPLIT)
    expected = fitted.decision_function(SPLIT.X_test)
    for copied in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(copied.decision_function(SPLIT.X_test), expected)
    search = GridSearchCV(model, {"kernel": [SQUARE, GAUSSIAN, "laplace"]}, cv=2, n_jobs=2)
    search.fit(SPLIT.X_train, SPLIT.y_train)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_checkpoints_and_many_runs():
    stored = []
    model = RFMClassifier(7, kernel=GAUSSIAN, iterations=3, dtype="float64")
    model.fit(SPLIT, callbacks=[lambda current: stored.append(current.checkpoint())])
    assert_same_run(clone(model).fit(SPLIT, checkpoint=stored[1]), model, 0)
    # Two kernels of one name are two kernels.
    other = CustomKernel("my_gaussian", square, square_slopes)
    models = [RFMClassifier(7, kernel=kernel, iterations=2) for kernel in (GAUSSIAN, other)]
    fit_many(models, [SPLIT] * 2)
    for kernel, many in zip((GAUSSIAN, other), models, strict=True):
        assert_same_run(many, RFMClassifier(7, kernel=kernel, iterations=2).fit(SPLIT), 0)


def test_backends(monkeypatch, caplog):
    model = RFMClassifier(7, kernel=GAUSSIAN, iterations=1)
    with caplog.at_level(logging.INFO, logger="grokrfm"):
        model.fit(SPLIT)
    assert "backend: auto chose numpy for a kernel of one's own" in caplog.text
    for backend in ("cpp", "cuda", "cuda-tf32"):
        with pytest.raises(ValueError, match=f"backend: expected auto, cupy or numpy .*'{backend}"):
            model.set_params(backend=backend).fit(SPLIT)
    monkeypatch.setattr(backends, "obstacle", lambda backend: None)
    assert backends.array_backend("auto") == "cupy"
    monkeypatch.undo()
    # A model from a GPU takes the array source elsewhere, too, not compiled code.
    monkeypatch.setattr(backends, "obstacle", lambda name: "no GPU" if name == "cupy" else None)
    kept = pickle.loads(pickle.dumps(FittedBackend("cupy", None, "numpy")))
    assert type(kept.operations).__name__ == "ArrayOperations"


def test_saving_is_refused(tmp_path):
    model = RFMClassifier(7, kernel=GAUSSIAN, iterations=0).fit(SPLIT)
    with pytest.raises(TypeError, match="save: expected a kernel by name, got CustomKernel"):
        model.save(tmp_path / "model.npz")
    assert list(tmp_path.iterdir()) == []


def laplace(s, q_x, q_z, xp):
    return xp.exp(-xp.sqrt(xp.maximum(q_x + q_z - 2 * s, 0)))


def laplace_slopes(s, q_x, q_z, xp):
    delta = xp.maximum(q_x + q_z - 2 * s, 0)
    d_s = laplace(s, q_x, q_z, xp) / xp.sqrt(delta)
    return d_s, -0.5 * d_s


def bad_kernels():
    yield gaussian, lambda s, x, z, xp: (0.1 * s, 0 * s), "with the derivative by s, "
    yield gaussian, lambda *a: (gaussian_slopes(*a)[0], 0), "with the derivative by q_z, "
    # Off by a thousandth.
    yield square, lambda s, x, z, xp: (6.006 * s, 0), "with the derivative by s, "
    yield lambda s, x, z, xp: s * x, lambda s, x, z, xp: (x, 0), r"expected h\(s, q_x, q_z\) = h"
    yield lambda s, x, z, xp: 1 / (s - s), square_slopes, "expected finite numbers .* from value"
    yield laplace, laplace_slopes, "finite numbers .* from slopes .* 0 of 20 finite"
    yield lambda s, x, z, xp: s[None], square_slopes, r"of the shape of s, \(20, 21\), from value"
    yield lambda s, x, z, xp: None, square_slopes, "value of .* failed on arrays: TypeError"
    yield square, lambda s, x, z, xp: 6 * s, "slopes of .* failed on arrays: ValueError"
    yield lambda s: s, square_slopes, "value of .* failed on arrays: TypeError"


@pytest.mark.parametrize("value, slopes, message", list(bad_kernels()))
def test_mistakes_are_named_before_any_work(value, slopes, message, monkeypatch):
    monkeypatch.setattr(
        "grokrfm.rfm.classifier.make_operations", lambda name: pytest.fail("work began")
    )
    with pytest.raises(ValueError, match=f"kernel: .*{message}") as caught:
        RFMClassifier(7, kernel=CustomKernel("mine", value, slopes)).fit(SPLIT)
    assert "\n" not in str(caught.value) and "'mine'" in str(caught.value)


def test_names_and_functions():
    for arguments, error, message in (
        (("quadratic", square, square_slopes), ValueError, "name: expected one that no other"),
        (("", square, square_slopes), ValueError, "name: expected one that no other"),
        (("mine", 3, square_slopes), TypeError, "value: expected a function, got 3"),
        (("mine", square, None), TypeError, "slopes: expected a function, got None"),
    ):
        with pytest.raises(error, match=message):
            CustomKernel(*arguments)
