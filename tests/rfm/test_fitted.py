"""What a fitted model tells beside its outputs, and the one warning of a run."""

import copy
import warnings

import numpy as np
import pytest
from grokrfm import ModularTask, NotFittedError, RFMClassifier, SolverWarning, fit_many
from grokrfm.operations import KERNELS, memory
from grokrfm.tasks import MultiTask

SPLIT = ModularTask("x+y", 7).split(0.6, 0)


def fit(split=SPLIT, **parameters):
    parameters = {"iterations": 3, "dtype": "float64", "ridge": 1e-3, **parameters}
    return RFMClassifier(7, **parameters).fit(
        split.X_train, split.y_train, (split.X_test, split.y_test)
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_kernel_matrix_is_the_predictors(kernel, backend):
    model = fit(kernel=kernel, backend=backend)
    K = model.kernel_matrix(SPLIT.X_train)
    targets = np.eye(7)[SPLIT.y_train]
    np.testing.assert_allclose((K + 1e-3 * np.eye(len(K))) @ model.dual_coef_, targets, atol=1e-6)
    across = model.kernel_matrix(SPLIT.X_test, SPLIT.X_train)
    np.testing.assert_allclose(
        across @ model.dual_coef_, model.decision_function(SPLIT.X_test), atol=1e-9
    )
    assert model.kernel_matrix(SPLIT.X_test[:0], SPLIT.X_train).shape == (0, len(K))


def test_a_kernel_matrix_that_cannot_fit_is_refused(monkeypatch):
    model = fit()
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    with pytest.raises(MemoryError, match="a kernel matrix of 29 by 29 pairs needs"):
        model.kernel_matrix(SPLIT.X_train)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("centering", ["per_class", "none"])
def test_the_next_feature_matrix_comes_from_the_agop(kernel, centering, backend):
    given = {"kernel": kernel, "centering": centering, "backend": backend, "agop_power": 1.0}
    model, longer = (fit(iterations=t, **given) for t in (2, 3))
    np.testing.assert_allclose(
        model.agop(), longer.feature_matrix_, atol=1e-9 * abs(longer.feature_matrix_).max()
    )
    np.testing.assert_allclose(model.class_agops().sum(axis=0), model.agop(), atol=1e-9)


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
def test_the_predictor_of_an_earlier_round(solver, backend):
    given = {"solver": solver, "tol": 1e-10, "backend": backend}
    model = fit(**given)
    for t in range(4):
        there = model.at_iteration(t)
        shorter = fit(iterations=t, **given)
        for first, second in (
            (there.decision_function(SPLIT.X_test), shorter.decision_function(SPLIT.X_test)),
            (there.agop(), shorter.agop()),
            (there.dual_coef_, shorter.dual_coef_),
        ):
            np.testing.assert_allclose(first, second, atol=1e-7 * abs(second).max())
        np.testing.assert_array_equal(there.feature_matrix_, model.feature_matrices_[t])
        assert there.n_iter_ == 0 and there.solver_ == solver
        assert there.score(SPLIT.X_test, SPLIT.y_test) == model.history_["test_accuracy"][t]
    for t, message in ((4, "an integer from 0 to 3, got 4"), (-1, "from 0 to 3, got -1")):
        with pytest.raises(ValueError, match=f"iteration: expected .*{message}"):
            model.at_iteration(t)


def test_an_earlier_round_of_several_tasks_and_of_a_copy():
    split = MultiTask(["x+y", "x-y"], 7).split(0.6)
    model = fit(split, n_tasks=2, kernel="gaussian")
    first = copy.deepcopy(model).set_params(n_tasks=1).at_iteration(1)
    assert first.score(split.X_test, split.y_test) == model.history_["test_accuracy"][1]


def test_queries_before_fit():
    model = RFMClassifier(5)
    for call in (
        model.agop,
        model.class_agops,
        lambda: model.kernel_matrix([[0, 1]]),
        lambda: model.at_iteration(0),
    ):
        with pytest.raises(NotFittedError, match="expected a call of fit"):
            call()


SINGULAR = ([[0, 0], [0, 0], [1, 2]], [0, 0, 0])


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [warning for warning in caught if issubclass(warning.category, SolverWarning)]


@pytest.mark.parametrize("iterations", [0, 4])
def test_one_warning_a_run_that_points_at_the_caller(iterations):
    model = RFMClassifier(3, kernel="gaussian", iterations=iterations, dtype="float64")
    [warning] = warned(lambda: model.fit(*SINGULAR))
    assert warning.filename == __file__
    message = str(warning.message)
    assert message.startswith("iteration 0: Cholesky solve failed") and "\n" not in message
    others = int(model.history_["solver_fallback"].sum()) - 1
    assert (f"The same in {others} later iterations" in message) == (others > 0) == (iterations > 0)
    [warning] = warned(lambda: model.at_iteration(0))
    assert warning.filename == __file__


def test_one_warning_a_run_of_many():
    indefinite = np.diag(np.linspace(-1, 1, 14))
    models = [RFMClassifier(7, solver="cg", iterations=1) for _ in range(2)]
    caught = warned(lambda: fit_many(models, [SPLIT] * 2, feature_matrices=[indefinite, None]))
    missed = [model for model in models if (model.history_["residual"] > 1e-4).any()]
    assert len(caught) == len(missed) == 1 and caught[0].filename == __file__


def test_the_warning_as_an_error_leaves_the_fit():
    model = RFMClassifier(3, iterations=0, dtype="float64")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SolverWarning):
            model.fit(*SINGULAR)
    assert model.history_["solver_fallback"].tolist() == [1]


def test_fit_many_takes_models_and_splits():
    with pytest.raises(TypeError, match="models: expected RFMClassifier, got str"):
        fit_many(["model"], [SPLIT])
    with pytest.raises(TypeError, match="splits: expected Split, got tuple"):
        fit_many([RFMClassifier(7)], [(SPLIT.X_train, SPLIT.y_train)])
