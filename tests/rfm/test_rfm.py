"""The RFM: history, scores, callbacks, interrupts, edges."""

import warnings

import numpy as np
import pytest
from grokrfm import ModularTask, MultiTask, RFMClassifier, SolverWarning
from grokrfm.operations import ArrayOperations, make_kernel
from grokrfm.operations.kernels import KERNELS
from grokrfm.rfm import rounds
from grokrfm.rfm.cholesky import CholeskyMachine
from grokrfm.rfm.evaluation import DenseEvaluator
from grokrfm.tasks import PairData
from grokrfm.training import scores, scores_of_outputs

REFERENCE = ArrayOperations()

KEYS = {
    "iteration",
    "train_accuracy",
    "test_accuracy",
    "train_mse",
    "test_mse",
    "train_correct_class_mse",
    "test_correct_class_mse",
    "feature_trace",
    "circulant_deviation",
    "feature_alignment",
    "residual",
    "cg_iterations",
    "solver_fallback",
    "seconds",
}


def fit(
    p=7,
    operation="x+y",
    train_fraction=0.5,
    seed=0,
    callbacks=(),
    feature_matrix=None,
    **parameters,
):
    split = ModularTask(operation, p).split(train_fraction, seed)
    parameters = {"iterations": 3, "dtype": "float64", **parameters}
    return RFMClassifier(p, **parameters).fit(
        split.X_train, split.y_train, (split.X_test, split.y_test), callbacks, feature_matrix
    )


def test_history_rows_belong_to_the_predictor_of_their_matrix(backend):
    model = fit(p=11, iterations=4, backend=backend)
    history = model.history_
    assert set(history) == KEYS
    assert all(values.shape == (5,) for values in history.values())
    np.testing.assert_array_equal(history["iteration"], np.arange(5))
    np.testing.assert_array_equal(model.feature_matrices_[0], np.eye(22))
    np.testing.assert_array_equal(model.feature_matrices_[-1], model.feature_matrix_)
    np.testing.assert_allclose(
        history["feature_trace"], np.trace(model.feature_matrices_, axis1=1, axis2=2)
    )
    assert np.isnan(history["circulant_deviation"][0])
    assert history["feature_alignment"][-1] == pytest.approx(1)
    split = ModularTask("x+y", 11).split(0.5, 0)
    assert model.score(split.X_test, split.y_test) == history["test_accuracy"][-1]
    shorter = fit(p=11, iterations=2, backend=backend)
    for key in KEYS - {"seconds", "feature_alignment"}:
        np.testing.assert_array_equal(shorter.history_[key], history[key][:3])


def test_scores_are_their_definitions():
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=(9, 4)), rng.integers(0, 4, 9)
    scores = scores_of_outputs(outputs, labels)
    target = np.eye(4)[labels]
    assert scores.accuracy == np.mean(outputs.argmax(1) == labels)
    assert scores.mse == pytest.approx(np.mean((outputs - target) ** 2))
    own = outputs[np.arange(9), labels]
    assert scores.correct_class_mse == pytest.approx(np.mean((own - 1) ** 2))


def test_a_loss_below_zero_by_rounding_is_zero():
    """Of three pairs, all outputs right: the squares came out a little too small."""
    outcome = scores((3, 3.0, 0.0, 3 - 1e-9), 3, 5)
    assert outcome.mse == 0 and outcome.accuracy == 1
    assert scores((3, 3.0, 0.0, 3 + 3e-3), 3, 5).mse == pytest.approx(2e-4)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("centering", ["per_class", "none"])
def test_backends_agree_along_a_run(kernel, centering, backend):
    models = [
        fit(kernel=kernel, centering=centering, backend=name, iterations=2, ridge=1e-3)
        for name in ("numpy", backend)
    ]
    for key in ("train_mse", "test_mse", "feature_trace"):
        np.testing.assert_allclose(
            *(model.history_[key] for model in models), rtol=1e-5, atol=1e-12
        )


@pytest.mark.parametrize("kernel", ["quadratic", "gaussian"])
@pytest.mark.parametrize("centering", ["per_class", "none"])
def test_agops_of_the_classes_sum_to_the_agop(kernel, centering, backend):
    given = {"kernel": kernel, "centering": centering, "backend": backend, "agop_power": 1.0}
    model, longer = (fit(p=7, iterations=t, **given) for t in (1, 2))
    agops = model.class_agops()
    assert agops.shape == (7, 14, 14)
    np.testing.assert_allclose(agops.sum(axis=0), longer.feature_matrix_, atol=1e-9)
    np.testing.assert_array_equal(model.class_agops([3])[0], agops[3])
    with pytest.raises(ValueError, match="classes: expected an integer from 0 to 6, got 7"):
        model.class_agops([7])


@pytest.mark.parametrize("kernel", KERNELS)
def test_several_tasks_share_outputs(kernel, backend):
    split = MultiTask(["x+y", "x-y", "x*y"], 5).split(0.7)
    models = [
        RFMClassifier(
            5, kernel=kernel, n_tasks=3, iterations=2, dtype="float64", ridge=1e-3, backend=name
        ).fit(split.X_train, split.y_train, (split.X_test, split.y_test))
        for name in ("numpy", backend)
    ]
    for key in ("test_mse", "train_accuracy_task_2", "test_accuracy_task_0"):
        np.testing.assert_allclose(*(model.history_[key] for model in models), rtol=1e-6)
    model = models[1]
    assert model.feature_matrix_.shape == (12, 12) and model.solver_ == "cholesky"
    hits = model.predict(split.X_test) == split.y_test
    for task in range(3):
        expected = hits[split.X_test[:, 2] == task].mean()
        assert model.history_[f"test_accuracy_task_{task}"][-1] == expected


def test_several_tasks_need_the_task_of_each_input():
    split = MultiTask(["x+y", "x-y"], 5).split(0.7)
    for X, message in (
        (split.X_train[:, :2], r"X: expected shape \(n, 3\), got"),
        (split.X_train + np.array([0, 0, 1]), r"X: expected tasks in \[0, 2\), got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            RFMClassifier(5, n_tasks=2).fit(X, split.y_train)
    with pytest.raises(ValueError, match="solver: 'cg' does not apply, inputs with a task bit"):
        RFMClassifier(5, n_tasks=2, solver="cg").fit(split.X_train, split.y_train)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_seed_same_history(dtype, backend):
    given = {"dtype": dtype, "kernel": "gaussian", "backend": backend}
    first, second = (fit(p=13, **given) for _ in range(2))
    for key in KEYS - {"seconds"}:
        np.testing.assert_array_equal(first.history_[key], second.history_[key])
    np.testing.assert_array_equal(first.feature_matrix_, second.feature_matrix_)
    assert first.feature_matrix_.dtype == dtype


def test_ridge_is_added_to_the_diagonal(backend):
    split = ModularTask("x+y", 7).split()
    model = fit(ridge=0.7, iterations=0, backend=backend)
    X = np.eye(14)[split.X_train + np.array([0, 7])].sum(axis=1)
    expected = np.linalg.solve(3 * (X @ X.T) ** 2 + 0.7 * np.eye(len(X)), np.eye(7)[split.y_train])
    np.testing.assert_allclose(model.dual_coef_, expected, atol=1e-12)
    assert model.history_["residual"][0] < 1e-12


@pytest.mark.parametrize("power", [0.5, 0.25])
def test_agop_power_and_initial_matrix(power, backend):
    M = np.diag(np.linspace(1, 2, 14))
    first = fit(agop_power=1.0, iterations=1, feature_matrix=M, backend=backend)
    np.testing.assert_array_equal(first.feature_matrices_[0], M)
    root = fit(agop_power=power, iterations=1, feature_matrix=M, backend=backend)
    np.testing.assert_allclose(
        np.linalg.matrix_power(root.feature_matrix_, round(1 / power)),
        first.feature_matrix_,
        atol=1e-8 * first.feature_matrix_.max(),
    )


def test_callbacks_see_every_round_add_columns_and_stop():
    seen = []

    def watch(current):
        seen.append(current.iteration)
        current.record["norm"] = float(np.linalg.norm(current.feature_matrix))

    model = fit(iterations=5, callbacks=[lambda current: current.iteration == 2, watch])
    assert seen == [0, 1, 2]
    assert model.n_iter_ == 2
    np.testing.assert_allclose(
        model.history_["norm"], np.linalg.norm(model.feature_matrices_, axis=(1, 2))
    )


def test_an_interrupt_keeps_completed_rounds():
    def interrupt(current):
        if current.iteration == 1:
            raise KeyboardInterrupt

    split = ModularTask("x+y", 7).split()
    model = RFMClassifier(7, iterations=5)
    with pytest.raises(KeyboardInterrupt):
        model.fit(split.X_train, split.y_train, callbacks=[interrupt])
    assert len(model.history_["iteration"]) == 2
    assert model.predict(split.X_train).tolist() == split.y_train.tolist()


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
def test_an_interrupt_within_a_round_goes_back_to_the_last_complete_one(
    solver, backend, monkeypatch
):
    """The broken round has solved for its dual coefficients already."""
    options = {"solver": solver, "backend": backend, "tol": 1e-12}
    complete = fit(p=11, iterations=2, **options)
    deviations, calls = rounds.circulant_deviations, []

    def interrupted(*arguments, **more):
        calls.append(0)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return deviations(*arguments, **more)

    split = ModularTask("x+y", 11).split(0.5, 0)
    model = RFMClassifier(11, iterations=5, dtype="float64", **options)
    monkeypatch.setattr("grokrfm.rfm.rounds.circulant_deviations", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(split.X_train, split.y_train, (split.X_test, split.y_test))
    assert len(calls) == 4 and model.n_iter_ == 2
    np.testing.assert_array_equal(model.feature_matrix_, complete.feature_matrix_)
    np.testing.assert_allclose(
        model.decision_function(split.X_test),
        complete.decision_function(split.X_test),
        atol=1e-9,
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, of the overflow
def test_a_matrix_that_overflows_ends_the_run_where_it_comes_up(backend):
    split = ModularTask("x+y", 11).split(0.5, 0)
    model = RFMClassifier(11, agop_power=20, iterations=5, solver="cg", backend=backend)
    with pytest.raises(ValueError, match="M: expected finite entries"):
        model.fit(split)
    assert np.isfinite(model.feature_matrices_).all() and model.n_iter_ < 5


def test_without_evaluation_pairs(backend):
    split = ModularTask("x+y", 5).split()
    model = RFMClassifier(5, iterations=1, backend=backend).fit(split.X_train, split.y_train)
    assert np.isnan(model.history_["test_accuracy"]).all()
    np.testing.assert_array_equal(model.history_["train_accuracy"], [1, 1])
    assert model.decision_function(np.empty((0, 2), int)).shape == (0, 5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_smallest_cases_run(kernel, backend):
    given = {"kernel": kernel, "ridge": 1e-6, "dtype": "float64", "backend": backend}
    one = RFMClassifier(2, iterations=2, **given)
    one.fit([[1, 0]], [1], eval_set=([[1, 0]], [1]))
    assert np.isfinite(one.history_["test_mse"]).all()
    pairs = ModularTask("x+y", 3).pairs
    everything = RFMClassifier(3, iterations=1, **given)
    everything.fit(pairs, pairs.sum(axis=1) % 3)
    assert everything.history_["train_accuracy"][0] == 1


def test_class_without_training_pairs(backend):
    split = ModularTask("x+y", 7).split(0.6)
    kept = split.y_train != 3
    model = RFMClassifier(7, iterations=3, dtype="float64", backend=backend).fit(
        split.X_train[kept], split.y_train[kept], (split.X_test, split.y_test)
    )
    np.testing.assert_array_equal(model.decision_function(split.X_test)[:, 3], 0)


def test_singular_kernel_matrix_takes_the_recorded_fallback(backend):
    X, y = [[0, 0], [0, 0], [1, 2]], [0, 0, 0]
    with pytest.warns(SolverWarning, match="minimum-norm solution"):
        model = RFMClassifier(3, iterations=0, dtype="float64", backend=backend).fit(X, y)
    assert model.history_["solver_fallback"][0] == 1
    assert model.history_["residual"].max() < 1e-10
    assert model.dual_coef_[0, 0] == pytest.approx(model.dual_coef_[1, 0])


def test_indefinite_matrix_gives_a_solution_or_says_so(backend):
    rng = np.random.default_rng(0)
    M = rng.normal(size=(14, 14))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SolverWarning)
        model = fit(feature_matrix=M + M.T, iterations=0, backend=backend)
    assert model.history_["solver_fallback"][0] == 1
    assert model.history_["residual"][0] < 1e-8


def test_a_fallback_is_that_of_its_round_alone():
    assert (fit(p=11, solver="cholesky").history_["solver_fallback"] == 0).all()
    split = ModularTask("x+y", 7).split()
    data = PairData(split.X_train, split.y_train, split.X_test, split.y_test, 7, 7)
    kernel = make_kernel("quadratic", bandwidth=1.0, depth=1, dimension=14)
    evaluator = DenseEvaluator(REFERENCE, kernel, data, "float64", 0.0, True)
    machine = CholeskyMachine(REFERENCE, kernel, data, "float64", 0.0, evaluator)
    M = np.random.default_rng(0).normal(size=(14, 14))
    [evaluation] = machine.fit(M + M.T)
    assert evaluation.fallback and "minimum-norm solution" in evaluation.complaint
    [evaluation] = machine.fit(np.eye(14))
    assert not evaluation.fallback and not evaluation.complaint
