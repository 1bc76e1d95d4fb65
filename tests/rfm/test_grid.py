"""Rounds on the grid of pairs against dense sums; conjugate gradients against Cholesky."""

import logging
import warnings

import numpy as np
import pytest
from cases import BOUNDS, FAMILY, KINDS, assert_close, make_data, metric
from grokrfm import ModularTask, RFMClassifier, SolverWarning
from grokrfm.operations import memory
from grokrfm.operations.conjugate_gradients import PATIENCE
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.grid import GridProblem, apply
from grokrfm.operations.kernels import quadratic_form
from grokrfm.operations.reference import ArrayOperations
from grokrfm.rfm.conjugate_gradients import ConjugateGradientMachine
from grokrfm.rfm.evaluation import DenseEvaluator
from grokrfm.rfm.grid import GridEvaluator
from grokrfm.tasks import PairData, pair_indices
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

REFERENCE, CPP = ArrayOperations(), CppOperations()


def test_the_family():
    assert [case.name for case in FAMILY] == ["quadratic", "general_quadratic", "quadratic_ntk"]


@given(
    seed=st.integers(0, 2**32 - 1),
    p=st.integers(2, 9),
    kind=st.sampled_from(KINDS),
    case=st.sampled_from(FAMILY),
    share=st.floats(0.05, 1),
)
@settings(max_examples=40, deadline=None)
def test_operator_is_the_dense_kernel_matrix(seed, p, kind, case, share):
    rng = np.random.default_rng(seed)
    M, kernel = metric(rng, 2 * p, kind), case.kernel(2 * p)
    mask = rng.random((p, p)) < share
    V = rng.normal(size=(3, p, p)) * mask
    everything = pair_indices(np.argwhere(np.ones((p, p))), p)
    K = REFERENCE.kernel_matrix(kernel, M, everything)
    expected = (V.reshape(3, -1) @ K).reshape(3, p, p)
    scale = np.abs(K).max() * np.abs(V).sum(axis=(1, 2)).max(initial=0)
    assert_close(apply(M, quadratic_form(kernel), V), expected, 1e-13, scale)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p, fraction", [(2, 0.5), (2, 1), (5, 0.04), (7, 0.5), (9, 1), (17, 0.4)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", FAMILY, ids=str)
def test_evaluation_of_given_coefficients(case, dtype, p, fraction, kind, centred):
    """Scores, residual and AGOP from the grid, compiled and array source, against dense sums."""
    rng = np.random.default_rng(1)
    data, kernel = make_data(p, fraction=fraction), case.kernel(2 * p)
    M, alpha = metric(rng, 2 * p, kind), rng.normal(size=(len(data.train), p))
    expected = DenseEvaluator(REFERENCE, kernel, data, "float64", 0.25, centred)(M, alpha)
    dense_agop = expected.agop()
    scale = np.abs(
        DenseEvaluator(REFERENCE, kernel, data, "float64", 0.25, False)(M, alpha).agop()
    ).max()
    for operations in (CPP, REFERENCE):
        grid = GridEvaluator(operations, quadratic_form(kernel), [data], dtype, 0.25, centred)
        actual = grid(M.astype(dtype), alpha.astype(dtype))
        assert_close(actual.agop(), dense_agop.astype(dtype), BOUNDS[dtype], scale)
        for name in ("train", "test"):
            ours, theirs = getattr(actual, name), getattr(expected, name)
            assert ours.mse == pytest.approx(theirs.mse, rel=BOUNDS[dtype], nan_ok=True)
            assert ours.correct_class_mse == pytest.approx(
                theirs.correct_class_mse, rel=10 * BOUNDS[dtype], nan_ok=True
            )
            if dtype == "float64":
                assert ours.accuracy == pytest.approx(theirs.accuracy, nan_ok=True)
        assert actual.residual == pytest.approx(expected.residual, rel=BOUNDS[dtype])


@pytest.mark.parametrize("p", [256, 257])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_in_panels_and_by_blas(dtype, p):
    """Where a panel stays in the first-level cache, up to p = 256, and beyond: three classes."""
    rng = np.random.default_rng(p)
    pairs = rng.permutation(p * p)[: 2 * p]
    pairs = np.stack([pairs // p, pairs % p], axis=1)
    labels = rng.integers(0, 3, len(pairs))
    data = PairData(pairs[:-9], labels[:-9], pairs[-9:], labels[-9:], p, 3)
    form = quadratic_form(FAMILY[1].kernel(2 * p))  # every term is in it
    M = metric(rng, 2 * p, "definite").astype(dtype)
    solutions = rng.normal(size=(3, 1, len(data.train))).astype(dtype)
    sums = []
    for operations in (CPP, REFERENCE):
        grid = GridEvaluator(operations, form, [data], dtype, 0.0, True)
        sums.append(grid.round(M, solutions.copy(), 0.0, 0, [])[1])
    for name in ("best", "zqz", "tz", "train_squares", "test_squares", "residuals"):
        actual, expected = (np.asarray(getattr(of, name), np.float64) for of in sums)
        assert_close(actual, expected, BOUNDS[dtype], np.abs(expected).max())


def test_threads_share_the_products_of_a_large_column(monkeypatch):
    """From p = 500 on, where there are more threads than columns."""
    monkeypatch.delenv("GROKRFM_NUM_THREADS", raising=False)
    p = 503
    rng = np.random.default_rng(0)
    pairs = np.argwhere(rng.random((p, p)) < 0.01)
    data = PairData(pairs, np.zeros(len(pairs), np.int64), pairs[:0], np.zeros(0, np.int64), p, 1)
    M = np.eye(2 * p, dtype=np.float32) + rng.normal(size=(2 * p, 2 * p)).astype(np.float32) / 2000
    M = (M + M.T) / 2
    form = quadratic_form(FAMILY[0].kernel(2 * p))
    grid = GridEvaluator(CPP, form, [data], "float32", 0.1, True)
    sums = []
    for threads in (1, 3):
        with threadpool_limits(threads):
            assert CPP.device.threads == threads
            solutions = np.zeros((1, 1, len(pairs)), np.float32)
            sums.append(grid.round(M, solutions, 1e-5, 50, [])[1])
    assert sums[0].iterations[0] > 1 and sums[0].residuals[0] <= 1e-5
    for name in ("best", "zqz"):
        alone, shared = (getattr(of, name) for of in sums)
        np.testing.assert_allclose(shared, alone, atol=1e-4 * np.abs(alone).max())


@pytest.mark.parametrize("ridge", [0.0, 0.5])
@pytest.mark.parametrize("operations", [CPP, REFERENCE], ids=["cpp", "array"])
@pytest.mark.parametrize("case", FAMILY, ids=str)
def test_conjugate_gradients_reach_the_solution(case, operations, ridge):
    """Over rounds with changing M, from none to more earlier solutions than are kept."""
    p, rng = 11, np.random.default_rng(2)
    data, kernel = make_data(p), case.kernel(2 * p)
    M = np.eye(2 * p)
    grid = GridEvaluator(operations, quadratic_form(kernel), [data], "float64", ridge, True)
    machine = ConjugateGradientMachine(operations, grid, "float64", 1e-11)
    inputs = pair_indices(data.train, p)
    Y = np.eye(p)[data.train_labels]
    for _ in range(7):
        [evaluation] = machine.fit(M)
        K = REFERENCE.kernel_matrix(kernel, M, inputs) + ridge * np.eye(len(inputs))
        solution = np.linalg.solve(K, Y)
        alpha = machine.dual_coefficients()
        assert_close(alpha, solution, 1e-8)
        residual = np.linalg.norm(Y - K @ alpha, axis=0) / np.linalg.norm(Y, axis=0)
        assert evaluation.residual == pytest.approx(residual.max(), rel=0.05)
        assert evaluation.residual <= 1e-11
        assert 0 < evaluation.cg_iterations < 60
        M = M + 0.05 * metric(rng, 2 * p, "definite")


def test_the_prediction_saves_steps():
    """142 steps over 31 rounds; 290 from the last solution alone, 329 from the mean of the last."""
    split = ModularTask("x+y", 31).split(0.5, 0)
    model = RFMClassifier(31, solver="cg").fit(split.X_train, split.y_train)
    assert model.history_["cg_iterations"].sum() < 170


@pytest.mark.parametrize("operations", [CPP, REFERENCE], ids=["cpp", "array"])
@pytest.mark.parametrize("case, most", list(zip(FAMILY, (11, 13, 15), strict=True)), ids=str)
def test_the_coarse_matrix_saves_steps(case, most, operations):
    """Cold solves with the first three matrices: 10, 12 and 14 steps, 43 with the diagonal alone.

    With half or twice the coarse matrix, without its norms or their shift it takes 15 to 20.
    """
    p = 23
    split = ModularTask("x+y", p).split(0.5, 0)
    data, form = make_data(p), quadratic_form(case.kernel(2 * p))
    model = RFMClassifier(p, case.name, iterations=2, dtype="float64")
    model.fit(split.X_train, split.y_train)
    grid = GridEvaluator(operations, form, [data], "float64", 0.0, True)
    steps = []
    for M in model.feature_matrices_:
        solutions = np.zeros((p, 1, len(data.train)))
        _, sums = grid.round(M, solutions, 1e-5, 500, [])
        steps.append(int(sums.iterations.max()))
    assert sum(steps) <= most
    if form[1] == 0:
        assert steps[0] == 1  # the preconditioner of s² is the kernel matrix at M = I


@pytest.mark.parametrize("operations", [CPP, REFERENCE], ids=["cpp", "array"])
def test_a_tolerance_out_of_reach_ends_all_the_same(operations):
    """Steps that no longer halve the true residual are the last."""
    data = make_data(13)
    grid = GridEvaluator(
        operations, quadratic_form(FAMILY[0].kernel(26)), [data], "float32", 0.0, True
    )
    M = metric(np.random.default_rng(3), 26, "definite").astype("float32")
    solutions = np.zeros((13, 1, len(data.train)), "float32")
    [evaluation], sums = grid.round(M, solutions, 1e-12, 1000, [])
    assert sums.iterations.max() < 300
    assert 1e-12 < evaluation.residual < 1e-4


@pytest.mark.parametrize("operations", [CPP, REFERENCE], ids=["cpp", "array"])
def test_a_class_that_stagnates_stops_where_it_is(operations):
    """At a condition of 1e16 a solve would take 2600 steps; at one of 1e10 it takes 500."""
    p, data = 17, make_data(17)
    grid = GridEvaluator(operations, (3.0, 0.0, 0.0), [data], "float64", 0.0, True)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(2 * p, 2 * p)))[0]
    for exponent in (5, 8):
        M = (basis * np.logspace(0, -exponent, 2 * p)) @ basis.T
        solutions = np.zeros((p, 1, len(data.train)))
        [evaluation], sums = grid.round((M + M.T) / 2, solutions, 1e-9, 5000, [])
        assert np.isfinite(solutions).all()
        if exponent == 5:
            assert evaluation.residual <= 1e-9
        else:
            assert sums.iterations.min() >= PATIENCE and sums.iterations.max() < 1000


@pytest.mark.parametrize("operations", [CPP, REFERENCE], ids=["cpp", "array"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of what is not a number
def test_what_is_not_a_number_ends_and_is_complained_of(operations):
    """A class that is not finite: no endless loop, never the largest output, no bad start."""
    p, data = 11, make_data(11)
    form = quadratic_form(FAMILY[0].kernel(2 * p))
    grid = GridEvaluator(operations, form, [data], "float64", 0.0, True)
    dual = np.zeros((p, 1, len(data.train)))
    dual[4, 0, 0], dual[:4], dual[5:] = np.nan, 1.0, -1.0
    _, sums = grid.round(np.eye(2 * p), dual, 0.0, 0, [])
    assert (sums.best_class != 4).all() and np.isfinite(sums.best).all()
    assert np.isnan(sums.residuals[4]) and np.isfinite(np.delete(sums.residuals, 4)).all()
    # The next start of that class is zeros.
    [evaluation], sums = grid.round(np.eye(2 * p), dual, 1e-9, 500, [1.0])
    assert evaluation.residual <= 1e-9
    machine = ConjugateGradientMachine(operations, grid, "float64", 1e-9)
    [evaluation] = machine.fit(np.full((2 * p, 2 * p), np.nan))
    assert np.isnan(evaluation.residual)
    assert "stopped with 11 classes above the tolerance" in evaluation.complaint
    for _ in range(3):
        [evaluation] = machine.fit(np.eye(2 * p))
        assert evaluation.residual <= 1e-9 and not evaluation.complaint
    assert np.isfinite(machine.dual_coefficients()).all()


def test_compiled_and_array_rounds_take_the_same_steps():
    data = make_data(13)
    form = quadratic_form(FAMILY[0].kernel(26))
    sums = []
    for operations in (CPP, REFERENCE):
        grid = GridEvaluator(operations, form, [data], "float64", 0.0, True)
        solutions = np.zeros((13, 2, len(data.train)))
        M = metric(np.random.default_rng(3), 26, "definite")
        sums.append(grid.round(M, solutions, 1e-9, 500, [])[1])
        sums.append(grid.round(M + 0.01 * np.eye(26), solutions, 1e-9, 500, [1.5, -0.5])[1])
    for compiled, array in zip(sums[:2], sums[2:], strict=True):
        # Rounding errors may tip the last step over the tolerance or not.
        assert np.abs(compiled.iterations - array.iterations).max() <= 1
        np.testing.assert_array_equal(compiled.best_class, array.best_class)
        np.testing.assert_allclose(compiled.best, array.best, rtol=1e-6)
        np.testing.assert_allclose(compiled.products, array.products, rtol=1e-6)


@pytest.mark.parametrize("start", [0.0, 1.0])
@pytest.mark.parametrize("case", FAMILY, ids=str)
def test_outputs_added_up_are_those_of_the_solutions(case, start):
    """Of three blocks in one thread, the last two trust the recursion that the first confirms."""
    p, tolerance = 37, 1e-6
    data, M = make_data(p), metric(np.random.default_rng(3), 2 * p, "definite")
    grid = GridEvaluator(CPP, quadratic_form(case.kernel(2 * p)), [data], "float64", 0.1, True)
    solutions = np.full((p, 1, len(data.train)), start)
    with threadpool_limits(1):
        _, solved = grid.round(M, solutions, tolerance, 500, [1.0])
        own = grid._own.copy()
        _, evaluated = grid.round(M, solutions, tolerance, 0, [])
    assert (solved.iterations > 3).all() and (solved.residuals <= tolerance).all()
    np.testing.assert_allclose(own, grid._own, atol=1e-11 * np.abs(own).max())
    np.testing.assert_allclose(solved.best, evaluated.best, rtol=1e-11)
    np.testing.assert_allclose(solved.residuals, evaluated.residuals, rtol=1e-4)


@pytest.mark.parametrize("operations", [CPP, REFERENCE], ids=["cpp", "array"])
def test_ranges_of_classes_add_up(operations):
    """The unit of work: two halves of the classes give what all classes together give."""
    p, data = 11, make_data(11)
    form = quadratic_form(FAMILY[1].kernel(2 * p))
    grid = GridEvaluator(operations, form, [data], "float64", 0.0, True)
    rng = np.random.default_rng(4)
    M = metric(rng, 2 * p, "definite")
    dual = rng.normal(size=(p, len(data.train)))
    S = grid._second_moment

    problem = GridProblem(
        M,
        grid._form,
        0.0,
        grid._train_labels,
        grid._test_labels,
        np.zeros_like(M),
        M @ S @ M,
        tolerance=1.0,
        max_iterations=0,
        prediction=[],
    )

    own = [np.zeros((p, p)) for _ in range(3)]
    whole, low, high = (
        operations.grid_round(problem, dual[first:last, None].copy(), of_range, first)
        for (first, last), of_range in zip(((0, p), (0, 4), (4, p)), own, strict=True)
    )
    np.testing.assert_allclose(own[1] + own[2], own[0], rtol=1e-12)
    assert (own[0] != 0).all() and not (own[1].astype(bool) & own[2].astype(bool)).any()
    for name in ("zqz", "tz", "t_squared", "train_squares", "test_squares"):
        np.testing.assert_allclose(
            getattr(low, name) + getattr(high, name), getattr(whole, name), rtol=1e-10, atol=1e-9
        )
    best = np.where(low.best >= high.best, low.best_class, high.best_class)
    np.testing.assert_array_equal(best, whole.best_class)


@pytest.mark.parametrize(
    "p, operation, seed",
    [
        (31, "x+y", 0),
        (31, "x-y", 1),
        (31, "x*y", 2),
        (31, "x/y", 3),
        (61, "x+y", 4),
        (47, "x-y", 5),
        (47, "x*y", 6),
        (47, "x/y", 7),
        (67, "x+y", 8),
    ],
)
def test_accuracy_curve_in_single_precision_follows_cholesky_in_double(p, operation, seed):
    split = ModularTask(operation, p).split(0.5, seed)

    def curve(**parameters):
        model = RFMClassifier(p, iterations=20 if p < 67 else 14, **parameters)
        model.fit(split.X_train, split.y_train, (split.X_test, split.y_test))
        assert model.solver_ == parameters["solver"]
        return model.history_

    fast = curve(solver="cg")
    exact = curve(solver="cholesky", dtype="float64")
    assert np.abs(fast["test_accuracy"] - exact["test_accuracy"]).max() <= 0.005
    assert fast["residual"].max() <= 4e-5
    np.testing.assert_allclose(fast["test_mse"], exact["test_mse"], rtol=2e-3)


def test_cholesky_evaluated_on_the_grid_is_cholesky_evaluated_densely():
    split = ModularTask("x*y", 13).split(0.5, 0)
    histories = [
        RFMClassifier(13, solver="cholesky", backend=backend, dtype="float64", iterations=6)
        .fit(split.X_train, split.y_train, (split.X_test, split.y_test))
        .history_
        for backend in ("cpp", "numpy")
    ]
    for key in ("test_accuracy", "test_mse", "feature_trace", "test_correct_class_mse"):
        np.testing.assert_allclose(histories[0][key], histories[1][key], rtol=1e-6)


def test_same_seed_same_history():
    split = ModularTask("x+y", 37).split(0.5, 0)
    first, second = (
        RFMClassifier(37, solver="cg", iterations=4).fit(
            split.X_train, split.y_train, (split.X_test, split.y_test)
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.feature_matrices_, second.feature_matrices_)
    np.testing.assert_array_equal(first.dual_coef_, second.dual_coef_)


def test_dual_coefficients_belong_to_the_pairs_in_their_order():
    split = ModularTask("x+y", 13).split(0.5, 0)
    model = RFMClassifier(13, solver="cg", dtype="float64", tol=1e-10, iterations=3)
    model.fit(split.X_train, split.y_train, (split.X_test, split.y_test))
    outputs = model.decision_function(split.X_train)
    np.testing.assert_allclose(outputs, np.eye(13)[split.y_train], atol=1e-8)
    assert model.score(split.X_test, split.y_test) == model.history_["test_accuracy"][-1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smallest_runs_and_empty_classes(dtype):
    one = RFMClassifier(2, solver="cg", iterations=2, dtype=dtype, centering="none")
    one.fit([[1, 0]], [1])
    assert one.history_["train_accuracy"].tolist() == [1, 1, 1]
    split = ModularTask("x+y", 7).split(0.6)
    kept = split.y_train != 3
    model = RFMClassifier(7, solver="cg", iterations=3, dtype=dtype)
    model.fit(split.X_train[kept], split.y_train[kept], (split.X_test, split.y_test))
    np.testing.assert_array_equal(model.dual_coef_[:, 3], 0)
    assert np.isfinite(model.history_["test_mse"]).all()
    pairs = ModularTask("x+y", 5).pairs
    everything = RFMClassifier(5, solver="cg", iterations=2, ridge=1e-3, dtype=dtype)
    everything.fit(pairs, pairs.sum(axis=1) % 5)
    assert (everything.history_["train_accuracy"] == 1).all()


def test_zero_feature_matrix_is_warned_of():
    # A single training pair has no centred gradients: M_1 = 0, and with it the kernel.
    with pytest.warns(
        SolverWarning,
        match=r"stopped with 1 classes above the tolerance, largest relative residual 1\.0e\+00",
    ):
        model = RFMClassifier(2, solver="cg", iterations=1).fit([[1, 0]], [1])
    assert model.history_["residual"].tolist() == [pytest.approx(0, abs=1e-6), 1]


def test_indefinite_start_never_gives_nan_and_is_warned_of():
    rng = np.random.default_rng(5)
    M = rng.normal(size=(26, 26))
    split = ModularTask("x+y", 13).split(0.5, 0)
    model = RFMClassifier(13, solver="cg", iterations=0, dtype="float64")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(split.X_train, split.y_train, feature_matrix=M + M.T)
    residual = model.history_["residual"][0]
    assert np.isfinite(model.dual_coef_).all() and np.isfinite(residual)
    said = [w for w in caught if issubclass(w.category, SolverWarning)]
    assert bool(said) == (residual > 1e-5)


def test_auto_chooses_and_says_so(caplog, monkeypatch):
    def choice(p, **parameters):
        split = ModularTask("x+y", p).split(0.5, 0)
        return (
            RFMClassifier(p, iterations=0, **parameters).fit(split.X_train, split.y_train).solver_
        )

    with caplog.at_level(logging.INFO, logger="grokrfm"):
        assert choice(47) == "cg"
    assert "auto chose cg for 1104 training pairs" in caplog.text
    assert choice(31) == "cholesky"
    assert choice(47, kernel="gaussian") == "cholesky"
    monkeypatch.setattr(memory, "available_bytes", lambda: 17_500_000)
    assert choice(31) == "cg"  # the kernel matrix would not fit
    monkeypatch.setattr(memory, "available_bytes", lambda: 21_900_000)
    assert choice(41, kernel="laplace") == "cg"


@pytest.mark.parametrize(
    "X, kernel, message",
    [
        ([[0, 1], [0, 1]], kernel, "solver: 'cg' does not apply, a pair is given more than once")
        for kernel in ("quadratic", "gaussian")
    ],
)
def test_where_cg_does_not_apply(X, kernel, message):
    with pytest.raises(ValueError, match=message):
        RFMClassifier(3, solver="cg", kernel=kernel).fit(X, [1, 1])


def test_resumed_run_keeps_as_many_solutions_as_it_began_with(monkeypatch):
    """How many are kept depends on free memory, which may differ when a run goes on."""
    split = ModularTask("x+y", 13).split(0.6)
    model = RFMClassifier(13, iterations=8, solver="cg")
    checkpoints = []

    def fit(callbacks=(), checkpoint=None):
        model.fit(split.X_train, split.y_train, callbacks=callbacks, checkpoint=checkpoint)
        return model.history_["train_mse"], model.feature_matrix_

    with monkeypatch.context() as few:
        few.setattr(ConjugateGradientMachine, "depth", 3)
        whole = fit([lambda current: checkpoints.append(current.checkpoint())])
    for _ in range(2):  # going on leaves the checkpoint alone
        for expected, resumed in zip(whole, fit(checkpoint=checkpoints[4]), strict=True):
            np.testing.assert_array_equal(resumed, expected)
