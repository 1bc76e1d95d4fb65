"""Sampled runs: classes drawn for every update, accuracy from drawn pairs."""

import copy
import pickle

import grokrfm
import numpy as np
import pytest
from cases import FAMILY, KINDS, make_data, metric
from emulated import emulated_operations
from grokrfm import ModularTask, RFMClassifier, SolverWarning
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.kernels import quadratic_form
from grokrfm.operations.reference import ArrayOperations
from grokrfm.rfm import grid_columns
from grokrfm.rfm.evaluation import DenseEvaluator
from grokrfm.rfm.grid import GridEvaluator
from grokrfm.rfm.grid_columns import GridColumns
from grokrfm.rfm.sampling import Draw, Sampling
from grokrfm.tasks import pair_indices

REFERENCE, CPP = ArrayOperations(), CppOperations()


@pytest.fixture(params=["cpp", "array", "emulated"])
def operations(request):
    """Those in CUDA as compiled for the host."""
    if request.param == "emulated":
        return emulated_operations()
    return CPP if request.param == "cpp" else REFERENCE


def fitted(p=13, operation="x+y", fraction=0.5, callbacks=(), checkpoint=None, **parameters):
    split = ModularTask(operation, p).split(fraction, 0)
    parameters = {"iterations": 5, "tol": 1e-8, "dtype": "float64", **parameters}
    model = RFMClassifier(p, **parameters)
    return model.fit(split, callbacks=callbacks, checkpoint=checkpoint), split


def columns_at(operations, kernel, data, M, tolerance, ridge=0.0, centred=True):
    grid = GridEvaluator(operations, quadratic_form(kernel), [data], M.dtype, ridge, centred)
    return GridColumns(operations, kernel, grid, tolerance, tolerance).at(M)


def classes_of(sampling, iteration, n_classes):
    """Drawn from classes of one size."""
    return sampling.draw(iteration, np.full(n_classes, 7)).classes


def these(classes):
    classes = np.array(classes, dtype=np.int64)
    return Draw(classes, np.ones(len(classes)))


def same_histories(first, second, but=("seconds",)):
    assert first.keys() == second.keys()
    for name in first.keys() - set(but):
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


class TestDraws:
    def test_depend_on_seed_and_iteration_alone(self):
        sampling = Sampling(5, 7, 3)
        np.testing.assert_array_equal(
            classes_of(sampling, 4, 61), classes_of(Sampling(5, 0, 3), 4, 61)
        )
        assert {tuple(classes_of(sampling, t, 61)) for t in range(20)} != {
            tuple(classes_of(sampling, 0, 61))
        }
        assert (classes_of(sampling, 0, 61) != classes_of(Sampling(5, 7, 4), 0, 61)).any()

    def test_every_class_is_as_likely(self):
        counts = np.zeros(11)
        for t in range(2000):
            drawn = classes_of(Sampling(4, None, 0), t, 11)
            assert len(set(drawn)) == 4 and (np.diff(drawn) > 0).all()
            counts[drawn] += 1
        # Binomial: 727 expected, standard deviation 21.5.
        assert np.abs(counts - 2000 * 4 / 11).max() < 5 * 21.5

    def test_a_large_class_is_always_taken_and_weighs_one(self):
        sizes = np.full(20, 3)
        sizes[4] = 9
        for t in range(50):
            draw = Sampling(6, None, 0).draw(t, sizes)
            weights = dict(zip(draw.classes.tolist(), draw.weights, strict=True))
            assert len(weights) == 6 and weights.pop(4) == 1
            np.testing.assert_allclose(list(weights.values()), 19 / 5)
        # Not if the large ones would take more than half of the draw.
        assert np.ptp(Sampling(1, None, 0).draw(0, sizes).weights) == 0
        assert Sampling(20, None, 0).draw(0, sizes) is None

    def test_all_pairs_if_there_are_no_more(self):
        np.testing.assert_array_equal(Sampling(4, 10, 0).pairs(6), np.arange(6))
        assert len(Sampling(4, 0, 0).pairs(6)) == 0


@pytest.mark.parametrize("ridge", [0.0, 0.25])
@pytest.mark.parametrize("p, fraction", [(2, 0.5), (5, 0.04), (7, 0.5), (9, 1), (17, 0.4)])
@pytest.mark.parametrize("case", FAMILY, ids=str)
def test_columns_are_those_of_the_kernel_matrix(case, p, fraction, ridge, operations):
    """Losses, AGOP and outputs of some classes and pairs, against dense sums."""
    rng = np.random.default_rng(p)
    data, kernel = make_data(p, fraction=fraction), case.kernel(2 * p)
    M = metric(rng, 2 * p, "definite")
    train = pair_indices(data.train, p)
    K = REFERENCE.kernel_matrix(kernel, M, train) + ridge * np.eye(len(train))
    alpha = np.linalg.solve(K, data.targets("float64"))
    chosen = np.sort(rng.choice(p, min(3, p), replace=False))
    pairs = rng.integers(0, p, (4, 2))
    solved = columns_at(operations, kernel, data, M, 1e-12, ridge).solve(these(chosen), pairs)

    expected = REFERENCE.decision_function(kernel, M, pair_indices(pairs, p), train, alpha)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(solved.outputs, expected, atol=1e-8 * scale)
    dense = DenseEvaluator(REFERENCE, kernel, data, "float64", ridge, True)
    agop = REFERENCE.agop(kernel, M, train, np.ascontiguousarray(alpha[:, chosen]), True)
    np.testing.assert_allclose(solved.agop(), agop, atol=1e-8 * np.abs(agop).max())
    outputs = dense._predict(M, train, alpha)
    targets = data.targets("float64")
    errors = ((outputs - targets) ** 2)[:, chosen]
    assert solved.train.mse == pytest.approx(errors.mean(), rel=1e-6, abs=1e-15)
    of_chosen = np.isin(data.train_labels, chosen)
    if of_chosen.any():
        own = ((outputs - targets) ** 2)[of_chosen, data.train_labels[of_chosen]]
        assert solved.train.correct_class_mse == pytest.approx(own.mean(), rel=1e-6, abs=1e-15)
    assert np.isnan(solved.train.accuracy)


@pytest.mark.parametrize("kind", KINDS)
def test_any_targets(operations, kind):
    """Dense right-hand sides beside classes: each column as when solved alone."""
    p, rng = 11, np.random.default_rng(2)
    data, kernel = make_data(p), FAMILY[0].kernel(2 * p)
    M = metric(rng, 2 * p, kind)
    columns = columns_at(operations, kernel, data, M, 1e-9)
    together = columns.solve(these([8, 2]), data.test[:5])
    for i, pair in enumerate(data.test[:5]):
        alone = columns.solve(these([]), pair[None])
        limit = 1e-6 * np.abs(alone.solutions).max()
        if kind == "definite":
            np.testing.assert_allclose(together.solutions[i], alone.solutions[0], atol=limit)
        assert together.residuals[2 + i] == pytest.approx(alone.residuals[0], rel=0.5, abs=1e-9)
    order = columns.solve(these([2, 8]), data.test[:0])
    np.testing.assert_allclose(order.agop(), together.agop(), rtol=1e-5, atol=1e-9)


def test_starts_save_steps_and_change_nothing(operations):
    p, rng = 17, np.random.default_rng(1)
    data, kernel = make_data(p), FAMILY[0].kernel(2 * p)
    M, nothing = metric(rng, 2 * p, "definite"), these([])
    first = columns_at(operations, kernel, data, M, 1e-8).solve(nothing, data.test[:6])
    near = columns_at(operations, kernel, data, M + 1e-4 * np.eye(2 * p), 1e-8)
    cold = near.solve(nothing, data.test[:6])
    warm = near.solve(nothing, data.test[:6], first.solutions)
    assert warm.cg_iterations < cold.cg_iterations
    np.testing.assert_allclose(warm.outputs, cold.outputs, atol=1e-5)


def test_targets_have_a_tolerance_of_their_own(operations):
    p, rng = 17, np.random.default_rng(1)
    data, kernel = make_data(p), FAMILY[0].kernel(2 * p)
    M = metric(rng, 2 * p, "definite")
    grid = GridEvaluator(operations, quadratic_form(kernel), [data], "float64", 0.0, True)
    solved = GridColumns(operations, kernel, grid, 1e-9, 1e-2).at(M)
    residuals = solved.solve(these(range(4)), data.test[:4]).residuals
    assert residuals[:4].max() <= 1e-9 < 1e-6 < residuals[4:].max() <= 1e-2


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
def test_all_classes_are_the_exact_run(backend, solver):
    exact, _ = fitted(backend=backend, solver=solver)
    sampled, _ = fitted(backend=backend, solver=solver, agop_classes=13)
    errors = sampled.history_.pop("test_accuracy_error")
    same_histories(exact.history_, sampled.history_)
    assert (errors == 0).all()
    np.testing.assert_array_equal(exact.feature_matrix_, sampled.feature_matrix_)


@pytest.mark.parametrize("kernel", ["quadratic", "general_quadratic", "quadratic_ntk"])
@pytest.mark.parametrize("ridge", [0.0, 1e-4])
@pytest.mark.parametrize("centering", ["per_class", "none"])
def test_every_way_to_a_sampled_run_is_the_same(kernel, ridge, centering, backend):
    """Conjugate gradients and Cholesky, all outputs or drawn pairs."""
    given = {"kernel": kernel, "ridge": ridge, "centering": centering, "agop_classes": 5}
    given["operation"] = "x*y"  # whose zero class is larger
    runs = [
        fitted(**given, **way)[0]
        for way in (
            {"solver": "cg"},
            {"solver": "cholesky", "backend": backend},
            {"solver": "cg", "backend": backend},
            {"eval_pairs": 10**6, "backend": backend},
        )
    ]
    for run in runs[1:]:
        for name in ("feature_trace", "test_accuracy_error"):
            np.testing.assert_allclose(run.history_[name], runs[0].history_[name], rtol=1e-5)
        # Drawn pairs are solved for to 1e-3 only, which may tip the balance of two outputs.
        accuracies = [each.history_["test_accuracy"] for each in (run, runs[0])]
        np.testing.assert_allclose(*accuracies, atol=0.03)
        scale = np.abs(runs[0].feature_matrix_).max()
        np.testing.assert_allclose(run.feature_matrix_, runs[0].feature_matrix_, atol=1e-5 * scale)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "ntk"])
def test_other_kernels_draw_classes_with_cholesky(kernel):
    sampled, _ = fitted(kernel=kernel, agop_classes=5, iterations=1)
    first, _ = fitted(kernel=kernel, iterations=0)
    drawn = classes_of(Sampling(5, None, 0), 0, 13)
    expected = 13 / 5 * first.class_agops(drawn).sum(axis=0)
    power = ArrayOperations().matrix_power(expected, 0.5)
    np.testing.assert_allclose(sampled.feature_matrix_, power, atol=1e-7 * np.abs(power).max())


def test_weights_of_classes(operations):
    p, rng = 11, np.random.default_rng(2)
    data, kernel = make_data(p), FAMILY[1].kernel(2 * p)
    columns = columns_at(operations, kernel, data, metric(rng, 2 * p, "definite"), 1e-11)
    each = [columns.solve(these([label]), data.test[:0]).agop() for label in (2, 5, 8)]
    weights = np.array([1.0, 3.5, 3.5])
    together = columns.solve(Draw(np.array([2, 5, 8]), weights), data.test[:0]).agop()
    expected = np.tensordot(weights, each, 1)
    np.testing.assert_allclose(together, expected, atol=1e-8 * np.abs(expected).max())


def test_the_estimate_has_no_bias():
    """The mean over all draws of one class, times c, is the AGOP."""
    model, _ = fitted(iterations=2)
    mean = model.class_agops().mean(axis=0) * len(model.classes_)
    np.testing.assert_allclose(mean, model.agop(), atol=1e-10 * np.abs(mean).max())


def test_drawn_pairs(backend):
    model, split = fitted(agop_classes=6, eval_pairs=20, backend=backend)
    drawn = Sampling(6, 20, 0).pairs(len(split.X_test))
    accuracy = model.score(split.X_test[drawn], split.y_test[drawn])
    history, m = model.history_, len(split.X_test)
    assert history["test_accuracy"][-1] == accuracy
    a = history["test_accuracy"]
    error = np.sqrt(a * (1 - a) / 20 * (m - 20) / (m - 1))
    np.testing.assert_allclose(history["test_accuracy_error"], error)
    assert np.isnan(history["train_accuracy"]).all()
    assert np.isfinite(history["test_mse"]).all() and np.isfinite(history["train_mse"]).all()
    none, _ = fitted(agop_classes=6, eval_pairs=0, backend=backend)
    assert np.isnan(none.history_["test_accuracy"]).all()
    # NumPy's products round as the number of their columns, pairs included, has it.
    np.testing.assert_allclose(none.feature_matrix_, model.feature_matrix_, rtol=0, atol=1e-6)


def test_a_class_without_training_pairs():
    split = ModularTask("x+y", 7).split(0.9, 0)
    known = split.y_train != 3
    model = RFMClassifier(7, agop_classes=3, eval_pairs=4, iterations=6, dtype="float64")
    model.fit(split.X_train[known], split.y_train[known], (split.X_test, split.y_test))
    assert np.isfinite(model.feature_matrix_).all()
    assert np.isfinite(model.history_["train_mse"]).all()


def test_groups_by_table_and_label_noise():
    a, b = np.divmod(np.arange(16), 4)
    table = 4 * ((a[:, None] + a) % 4) + (b[:, None] + b) % 4
    split = ModularTask.from_table(table).split(0.6, 0, label_noise=0.05)
    runs = [
        RFMClassifier(16, agop_classes=8, iterations=4, **way).fit(split)
        for way in ({}, {"eval_pairs": 1000})
    ]
    accuracies = [run.history_["test_accuracy"] for run in runs]
    np.testing.assert_allclose(*accuracies, atol=0.02)


class TestQueriesWithoutDualCoefficients:
    @pytest.fixture(autouse=True)
    def on(self, backend):
        self.backend = backend

    def pair_of_models(self):
        exact, split = fitted(agop_classes=6, backend=self.backend)
        sampled, _ = fitted(agop_classes=6, eval_pairs=9, backend=self.backend)
        assert exact.dual_coef_ is not None and sampled.dual_coef_ is None
        return exact, sampled, split

    def test_the_same_outputs(self):
        exact, sampled, split = self.pair_of_models()
        calls = []
        outputs = sampled.decision_function(split.X_test, lambda *given: calls.append(given))
        np.testing.assert_allclose(outputs, exact.decision_function(split.X_test), atol=1e-5)
        assert calls[-1] == (len(split.X_test),) * 2
        assert sampled.score(split.X_test, split.y_test) == exact.score(split.X_test, split.y_test)
        np.testing.assert_array_equal(sampled.predict(split.X_train), split.y_train)
        assert sampled.decision_function(split.X_test[:0]).shape == (0, 13)

    def test_in_blocks(self, monkeypatch):
        _, sampled, split = self.pair_of_models()
        whole = sampled.decision_function(split.X_test[:20])
        monkeypatch.setattr(type(sampled), "_block_of_pairs", lambda self: 7)
        done = []
        blocks = sampled.decision_function(split.X_test[:20], lambda n, _: done.append(n))
        assert done == [7, 14, 20]
        np.testing.assert_allclose(blocks, whole, atol=1e-5)

    def test_agops(self):
        exact, sampled, _ = self.pair_of_models()
        scale = np.abs(exact.agop()).max()
        np.testing.assert_allclose(sampled.agop(), exact.agop(), atol=1e-5 * scale)
        np.testing.assert_allclose(
            sampled.class_agops([3, 1]), exact.class_agops([3, 1]), atol=1e-5 * scale
        )

    def test_copies_and_files(self, tmp_path):
        _, sampled, split = self.pair_of_models()
        sampled.save(tmp_path / "model.npz")
        for other in (
            copy.deepcopy(sampled),
            pickle.loads(pickle.dumps(sampled)),
            grokrfm.load(tmp_path / "model.npz"),
        ):
            assert other.dual_coef_ is None
            np.testing.assert_array_equal(
                other.decision_function(split.X_test[:3]),
                sampled.decision_function(split.X_test[:3]),
            )

    def test_earlier_iterations(self):
        _, sampled, split = self.pair_of_models()
        early = sampled.at_iteration(2)
        np.testing.assert_array_equal(early.feature_matrix_, sampled.feature_matrices_[2])
        assert early.decision_function(split.X_test[:2]).shape == (2, 13)


@pytest.mark.parametrize("way", [{}, {"eval_pairs": 12}], ids=["all pairs", "drawn pairs"])
def test_resumes_to_the_same_history(way, backend):
    stored = []
    given = {"agop_classes": 5, "seed": 4, "backend": backend, **way}
    whole, _ = fitted(callbacks=[lambda current: stored.append(current.checkpoint())], **given)
    for checkpoint in stored:
        resumed, _ = fitted(checkpoint=checkpoint, **given)
        same_histories(resumed.history_, whole.history_)
        np.testing.assert_array_equal(resumed.feature_matrices_, whole.feature_matrices_)
    for other in ({"seed": 5}, {"agop_classes": 6}, {"eval_pairs": 13}):
        with pytest.raises(ValueError, match="same data and parameters"):
            fitted(checkpoint=stored[1], **{**given, **other})


def test_an_exception_keeps_the_completed_rounds():
    def fails(current):
        if current.iteration == 3:
            raise RuntimeError("stop")

    split = ModularTask("x+y", 13).split(0.5, 0)
    model = RFMClassifier(13, agop_classes=5, eval_pairs=5)
    with pytest.raises(RuntimeError, match="stop"):
        model.fit(split, callbacks=[fails])
    assert len(model.history_["test_accuracy"]) == 4 and model.dual_coef_ is None
    assert model.predict(split.X_test[:3]).shape == (3,)


def test_many_runs(backend):
    given = {"agop_classes": 5, "eval_pairs": 8, "iterations": 3, "backend": backend}
    splits = [ModularTask("x+y", 13).split(0.5, seed) for seed in range(2)]
    models = [RFMClassifier(13, **given) for _ in splits]
    for model, split in zip(grokrfm.fit_many(models, splits), splits, strict=True):
        alone = RFMClassifier(13, **given).fit(split)
        same_histories(model.history_, alone.history_)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"agop_classes": 0}, "agop_classes: expected"),
        ({"agop_classes": 14}, "agop_classes: expected"),
        ({"eval_pairs": 5}, "eval_pairs: expected None without agop_classes"),
        ({"agop_classes": 4, "eval_pairs": -1}, "eval_pairs: expected"),
        ({"agop_classes": 4, "eval_pairs": 5, "solver": "cholesky"}, "solver='cholesky'"),
        ({"seed": -1}, "seed: expected"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        fitted(**parameters)


def test_a_missed_tolerance_is_complained_of(monkeypatch):
    monkeypatch.setattr(grid_columns, "MAX_CG_ITERATIONS", 1)
    with pytest.warns(SolverWarning, match="above the tolerance"):
        fitted(agop_classes=4, eval_pairs=4, iterations=1)


@pytest.mark.parametrize("operation", ["x+y", "x-y", "x*y", "x/y"])
def test_the_same_transition(operation):
    """At p = 61 sixteen classes pass 50 % within an iteration of the exact run."""
    split = ModularTask(operation, 61).split(0.5, 0)
    exact, sampled = (
        RFMClassifier(61, iterations=20, tol=1e-4, **way).fit(split).history_["test_accuracy"]
        for way in ({}, {"agop_classes": 16})
    )
    passed = [int(np.argmax(curve >= 0.5)) for curve in (exact, sampled)]
    assert abs(passed[0] - passed[1]) <= 1
    assert abs(exact[-1] - sampled[-1]) < 0.05


def test_the_residual_of_the_recursion_is_the_true_one():
    """Where the tolerance is far above rounding errors: it is not measured then."""
    p, rng = 31, np.random.default_rng(0)
    data, kernel = make_data(p), FAMILY[0].kernel(2 * p)
    M = metric(rng, 2 * p, "definite").astype("float32")
    order = np.argsort(data.train @ [p, 1])
    train = pair_indices(data.train[order], p)
    pairs = data.test[:20]
    solved = columns_at(CPP, kernel, data, M, 1e-3).solve(these([]), pairs)
    M = M.astype("float64")
    K = REFERENCE.kernel_matrix(kernel, M, train)
    targets = REFERENCE.kernel_matrix(kernel, M, pair_indices(pairs, p), train)
    misses = np.linalg.norm(targets - solved.solutions @ K, axis=1)
    true = misses / np.linalg.norm(targets, axis=1)
    assert 1e-6 < true.max() <= 1.001e-3
    np.testing.assert_allclose(solved.residuals, true, atol=1e-6)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "ntk"])
def test_streamed_sampled_runs_are_those_of_cholesky(kernel):
    given = {"kernel": kernel, "agop_classes": 5, "iterations": 4, "ridge": 1e-3}
    dense, _ = fitted(solver="cholesky", **given)
    streamed, split = fitted(eval_pairs=10**6, tol=1e-10, **given)
    scale = np.abs(dense.feature_matrix_).max()
    np.testing.assert_allclose(streamed.feature_matrix_, dense.feature_matrix_, atol=1e-6 * scale)
    outputs = dense.decision_function(split.X_test)
    np.testing.assert_allclose(
        streamed.decision_function(split.X_test), outputs, atol=1e-6 * np.abs(outputs).max()
    )
    np.testing.assert_allclose(
        streamed.history_["test_accuracy"], dense.history_["test_accuracy"], atol=0.03
    )
    chosen = classes_of(Sampling(5, None, 0), 4, 13)
    errors = (dense.decision_function(split.X_train) - np.eye(13)[split.y_train]) ** 2
    mse = errors[:, chosen].mean()
    assert streamed.history_["train_mse"][-1] == pytest.approx(mse, rel=1e-4)
