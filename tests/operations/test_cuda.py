"""The CUDA operations against the reference: on a GPU, and compiled for the host.

Everything but csrc/cuda/device_cuda.cu is the same in both; the loops of launch.h are where lanes
of the CPU stand for those of a GPU.
"""

import logging
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
from cases import (
    BOUNDS,
    CASES,
    DTYPES,
    EDGES,
    FAMILY,
    KINDS,
    assert_close,
    bad_calls,
    check_operations,
    check_power,
    make_data,
    make_problem,
    metric,
)
from device_arrays import DeviceArray, DeviceModule, OnHost, xp
from emulated import emulated_operations, library
from grokrfm import ModularTask, RFMClassifier, fit_many
from grokrfm.operations import backends
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.cuda import CudaOperations
from grokrfm.operations.grid import GridProblem
from grokrfm.operations.kernels import quadratic_form
from grokrfm.operations.large import FLOORS
from grokrfm.operations.reference import ArrayOperations
from grokrfm.rfm.conjugate_gradients import ConjugateGradientMachine
from grokrfm.rfm.evaluation import DenseEvaluator
from grokrfm.rfm.grid import GridEvaluator
from grokrfm.tasks import pair_indices

REFERENCE, CPP = ArrayOperations(), CppOperations()
OBSTACLE = backends.obstacle("cuda")


@pytest.fixture(scope="module", params=["emulated", "lanes"] + ([] if OBSTACLE else ["cuda"]))
def operations(request):
    if request.param == "cuda":
        return backends.make_operations("cuda")
    return emulated_operations(lanes=request.param == "lanes")


def test_these_run_on_a_gpu(request):
    """One line in the summary says how many tests below ran on the host alone."""
    if OBSTACLE:
        on_host = ("[emulated", "[lanes")
        here = [item for item in request.session.items if any(o in item.nodeid for o in on_host)]
        pytest.skip(f"{len(here)} tests of the CUDA operations not run on a GPU: {OBSTACLE}")


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_operations(operations, case, dtype, edge):
    check_operations(OnHost(operations), case, dtype, edge)


def test_agop_of_unequal_groups(operations):
    """Most points share an index: its group is cut into chunks."""
    problem = make_problem(3, p=9, slots=3, n=120, c=5)
    problem.train[:90, 0] = 4
    for case in (CASES[0], CASES[1], CASES[2]):
        kernel = case.kernel(27)
        expected = REFERENCE.agop(kernel, problem.M, problem.train, problem.dual_coefficients, True)
        actual = OnHost(operations).agop(
            kernel, problem.M, problem.train, problem.dual_coefficients, True
        )
        assert_close(actual, expected, 1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 129])
def test_cholesky_solve(operations, n, dtype):
    rng = np.random.default_rng(6)
    factor = rng.normal(size=(n, n)) / np.sqrt(n)
    K = factor @ factor.T + np.eye(n)
    Y = rng.normal(size=(n, 5))
    actual = OnHost(operations).cholesky_solve(K.astype(dtype), Y.astype(dtype))
    expected = np.linalg.solve(K, Y).astype(dtype)
    assert_close(actual, expected, 1e-12 if dtype == "float64" else 1e-4)


def test_cholesky_names_the_pivot(operations):
    K = np.eye(30)
    K[5, 5] = -1
    with pytest.raises(np.linalg.LinAlgError, match="order 6 fails"):
        OnHost(operations).cholesky_solve(K, np.ones((30, 2)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [0.5, 1.0, 0.25])
@pytest.mark.parametrize("ranks", [[12], [12, 5, 7]])
def test_matrix_power(operations, ranks, exponent, dtype):
    rng = np.random.default_rng(7)
    factors = [rng.normal(size=(12, rank)) for rank in ranks]
    G = np.stack([factor @ factor.T for factor in factors]).astype(dtype)
    G = (G + G.swapaxes(1, 2)) / 2
    check_power(OnHost(operations).matrix_power(G, exponent), G, exponent, dtype)
    check_power(OnHost(operations).matrix_power(G[0], exponent), G[0], exponent, dtype)


@pytest.mark.parametrize("ranks", [[40], [40, 40, 25]])
def test_square_roots_of_large_matrices(operations, ranks, monkeypatch):
    """Those of the eigenvalues, each a little above its own, and symmetric to the last bit."""
    rng = np.random.default_rng(8)
    factors = [rng.normal(size=(40, rank)) * np.geomspace(1, 1e-2, rank) for rank in ranks]
    G = np.stack([factor @ factor.T for factor in factors]).astype("float32")
    G = (G + G.swapaxes(1, 2)) / 2
    monkeypatch.setattr(CudaOperations, "root_rows", 39)
    roots = OnHost(operations).matrix_power(G, 0.5)
    np.testing.assert_array_equal(roots, roots.swapaxes(1, 2))
    for matrix, root in zip(G.astype("float64"), roots, strict=True):
        eigenvalues, vectors = np.linalg.eigh(matrix)
        above = eigenvalues + FLOORS[0] * np.linalg.norm(matrix)
        expected = (vectors * np.sqrt(above)) @ vectors.T
        assert_close(root, expected.astype("float32"), 1e-6)
    np.testing.assert_array_equal(OnHost(operations).matrix_power(G[0], 0.5), roots[0])


@pytest.mark.parametrize("least", [-1e-7, -1e-3, 0.0])
def test_square_roots_of_what_is_not_quite_semidefinite(operations, least, monkeypatch, caplog):
    """A little below zero: the larger floor. Further, or zero itself: the eigenvectors."""
    monkeypatch.setattr(CudaOperations, "root_rows", 0)
    Q, _ = np.linalg.qr(np.random.default_rng(9).normal(size=(20, 20)))
    eigenvalues = np.zeros(20) if least == 0 else np.append(np.linspace(0.1, 1, 19), least)
    G = ((Q * eigenvalues) @ Q.T).astype("float32")
    with caplog.at_level(logging.INFO, logger="grokrfm"):
        root = OnHost(operations).matrix_power((G + G.T) / 2, 0.5)
    assert ("took the eigenvectors" in caplog.text) == (least != -1e-7)
    expected = (Q * np.maximum(eigenvalues, 0)) @ Q.T
    assert_close(root @ root, expected.astype("float32"), 1e-5, 1.0)


@pytest.mark.parametrize(
    "error, message, arguments", [pytest.param(*row[1:], id=row[0]) for row in bad_calls()]
)
def test_bindings_refuse(operations, error, message, arguments):
    names = {"float32 or float64": "<f4 or <f8", "float64": "<f8", "int32": "<i4"}
    for long, short in names.items():
        message = message.replace(long, short)
    message = message.replace(r"\(17, 4\)", r"\(17, -1\)")
    train = arguments[1]
    if train.dtype == np.int32 and len(train) and train.max() < 10:
        # A good list of chunks, so that it is the named argument that is refused.
        slots = operations._chunks(operations.device.asarray(train, np.int32), 10)
    else:
        slots = []
    arrays = [operations.device.xp.asarray(array) for array in arguments]
    if "contiguous" in message:
        arrays[1] = operations.device.xp.asarray(np.repeat(train, 2, axis=0))[::2]
    out = operations.device.xp.empty((10, 10), dtype=arrays[0].dtype)
    kernel = CASES[0].kernel(10)
    with operations._place() as place, pytest.raises(error, match=message):
        operations._library.agop(place, kernel, arrays[0], arrays[1], slots, arrays[2], True, out)


def test_arrays_elsewhere_are_refused(operations):
    wrong = [1.0] if operations.device.xp is np else np.eye(4)
    inputs = operations.device.asarray([[0]], np.int32)
    message = r"feature_matrix: expected an array (on|in)"
    with operations._place() as place, pytest.raises(TypeError, match=message):
        operations._library.kernel_matrix(place, CASES[0].kernel(4), wrong, inputs, None, inputs)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p, fraction", [(2, 0.5), (2, 1), (5, 0.04), (9, 1), (17, 0.4)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", FAMILY, ids=str)
def test_evaluation_on_the_grid(operations, case, dtype, p, fraction, kind, centred):
    rng = np.random.default_rng(1)
    data, kernel = make_data(p, fraction=fraction), case.kernel(2 * p)
    M, alpha = metric(rng, 2 * p, kind), rng.normal(size=(len(data.train), p))
    expected = DenseEvaluator(REFERENCE, kernel, data, "float64", 0.25, centred)(M, alpha)
    uncentred = DenseEvaluator(REFERENCE, kernel, data, "float64", 0.25, False)(M, alpha)
    grid = GridEvaluator(operations, quadratic_form(kernel), [data], dtype, 0.25, centred)
    actual = grid(operations.device.asarray(M, dtype), operations.device.asarray(alpha, dtype))
    agop = operations.device.to_numpy(actual.agop())
    scale = np.abs(uncentred.agop()).max()
    assert_close(agop, expected.agop().astype(dtype), BOUNDS[dtype], scale)
    for name in ("train", "test"):
        ours, theirs = getattr(actual, name), getattr(expected, name)
        assert ours.mse == pytest.approx(theirs.mse, rel=BOUNDS[dtype], nan_ok=True)
        assert ours.correct_class_mse == pytest.approx(
            theirs.correct_class_mse, rel=10 * BOUNDS[dtype], nan_ok=True
        )
        if dtype == "float64":
            assert ours.accuracy == pytest.approx(theirs.accuracy, nan_ok=True)
    assert actual.residual == pytest.approx(expected.residual, rel=BOUNDS[dtype])


@pytest.mark.parametrize("block_bytes", [4 << 30, 100_000], ids=["one block", "many blocks"])
@pytest.mark.parametrize("ridge", [0.0, 0.5])
@pytest.mark.parametrize("case", FAMILY, ids=str)
def test_conjugate_gradients_take_the_steps_of_the_cpu(
    operations, case, ridge, block_bytes, monkeypatch, request
):
    """Over rounds with changing M, from none to more earlier solutions than are kept."""
    p, rng = 5 if "[lanes" in request.node.name else 19, np.random.default_rng(2)
    monkeypatch.setattr(type(operations), "block_bytes", block_bytes)
    data, form = make_data(p), quadratic_form(case.kernel(2 * p))
    M = np.eye(2 * p)
    machines = [
        ConjugateGradientMachine(
            ops, GridEvaluator(ops, form, [data], "float64", ridge, True), "float64", tolerance=1e-9
        )
        for ops in (operations, CPP)
    ]
    for _ in range(8):
        [ours], [theirs] = (
            machine.fit(ops.device.asarray(M, "float64"))
            for machine, ops in zip(machines, (operations, CPP), strict=True)
        )
        assert_close(
            operations.device.to_numpy(machines[0].dual_coefficients()),
            machines[1].dual_coefficients(),
            1e-6,
        )
        # Rounding errors may tip the last step over the tolerance or not.
        assert abs(ours.cg_iterations - theirs.cg_iterations) <= 1
        assert ours.residual <= 1e-9
        for name in ("accuracy", "mse", "correct_class_mse"):
            expected = getattr(theirs.test, name)
            assert getattr(ours.test, name) == pytest.approx(expected, rel=1e-5, abs=1e-7)
        assert_close(operations.device.to_numpy(ours.agop()), theirs.agop(), 1e-6)
        np.testing.assert_allclose(machines[0]._gram, machines[1]._gram, rtol=1e-6)
        M = M + 0.05 * metric(rng, 2 * p, "definite")


@pytest.mark.parametrize("p", [11, 67])  # a tile of rows, and five
def test_a_round_in_all_its_parts(operations, p):
    """Every field of GridSums against the array source, for a range of classes."""
    data = make_data(p)
    rng = np.random.default_rng(4)
    M = metric(rng, 2 * p, "definite")
    solutions = rng.normal(size=(5, 3, len(data.train)))
    coarse = 1e-3 * metric(rng, 2 * p, "definite")
    form = quadratic_form(FAMILY[1].kernel(2 * p))
    sums = []
    for ops in (operations, REFERENCE):
        grid = GridEvaluator(ops, form, [data], "float64", 0.1, True)
        metric_, S = ops.device.asarray(M, "float64"), grid._second_moment
        problem = GridProblem(
            metric_,
            form,
            0.1,
            grid._train_labels,
            grid._test_labels,
            ops.device.asarray(coarse, "float64"),
            metric_ @ S @ metric_,
            tolerance=1e-3,
            max_iterations=3,
            prediction=[1.5, -0.5],
        )
        kept, own = ops.device.asarray(solutions, "float64"), ops.device.xp.zeros((p, p))
        result = ops.grid_round(problem, kept, own, first_class=4)
        sums.append(
            {
                name: ops.device.to_numpy(ops.device.xp.asarray(value))
                for name, value in vars(result).items()
            }
            | {"solutions": ops.device.to_numpy(kept), "own": ops.device.to_numpy(own)}
        )
    for name, expected in sums[1].items():
        actual = sums[0][name].reshape(expected.shape)
        np.testing.assert_allclose(
            actual, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max(), err_msg=name
        )


def test_an_indefinite_matrix_stops_classes_and_never_gives_nan(operations):
    rng = np.random.default_rng(5)
    M = rng.normal(size=(26, 26))
    data, form = make_data(13), quadratic_form(FAMILY[0].kernel(26))
    residuals = []
    for ops in (operations, CPP):
        grid = GridEvaluator(ops, form, [data], "float64", 0.0, True)
        solutions = ops.device.xp.zeros((13, 2, len(data.train)))
        [evaluation], _ = grid.round(
            ops.device.asarray(M + M.T, "float64"), solutions, 1e-9, 300, []
        )
        residuals.append(evaluation.residual)
        assert np.isfinite(ops.device.to_numpy(solutions)).all()
    assert residuals[0] == pytest.approx(residuals[1], rel=0.5)


def test_accuracy_curve_of_an_emulated_run_in_single_precision(emulated_backend):
    split = ModularTask("x+y", 31).split(0.5, 0)
    curves = [
        RFMClassifier(31, backend=backend, solver="cg", iterations=20)
        .fit(split.X_train, split.y_train, (split.X_test, split.y_test))
        .history_
        for backend in ("cuda", "cpp")
    ]
    assert np.abs(curves[0]["test_accuracy"] - curves[1]["test_accuracy"]).max() <= 0.01
    assert curves[0]["residual"].max() <= 4e-5


@pytest.mark.parametrize("compiled", [True, False], ids=["cuda", "cupy"])
@pytest.mark.parametrize(
    "kernel, solver, classes",
    [("general_quadratic", "cg", None), ("quadratic", "cg", 4), ("gaussian", "cholesky", None)],
)
def test_an_emulated_run_stays_on_the_device(compiled, kernel, solver, classes, monkeypatch):
    """With arrays that do not mix with the host's: what would fail under CuPy alone."""
    with pytest.raises(TypeError, match="array of the host"):
        xp.ones(2) + np.ones(2)
    device = library().Device({}, False)
    operations = CudaOperations(library(), device, xp) if compiled else ArrayOperations(xp)
    monkeypatch.setattr("grokrfm.rfm.classifier.make_operations", lambda backend: operations)
    monkeypatch.setattr("grokrfm.rfm.many.make_operations", lambda backend: operations)
    monkeypatch.setattr(ArrayOperations, "_linalg", lambda self: DeviceModule(scipy.linalg))
    split = ModularTask("x+y", 11).split(0.5, 0)
    options = {"kernel": kernel, "solver": solver, "agop_classes": classes}
    options |= {"iterations": 2, "dtype": "float64"}
    models = [RFMClassifier(11, backend=name, **options) for name in ("cuda", "cuda", "numpy")]
    fit_many(models[:2], [split, split])
    monkeypatch.undo()
    models[2].fit(split.X_train, split.y_train, (split.X_test, split.y_test))
    for model in models[:2]:
        for key in ("train_mse", "test_mse", "feature_trace", "circulant_deviation"):
            np.testing.assert_allclose(
                model.history_[key], models[2].history_[key], rtol=1e-4, atol=1e-10
            )
        assert not isinstance(model.dual_coef_, DeviceArray)
        assert not isinstance(model.feature_matrices_, DeviceArray)


@pytest.mark.parametrize("targets", [0, 4])
def test_tf32_rounds_the_steps_of_a_solve_alone(targets):
    """Residuals, outputs and sums are those of float32; solves reach what float32 reaches."""
    p, tolerance, rng = 31, 1e-5, np.random.default_rng(0)
    data, form = make_data(p), quadratic_form(FAMILY[1].kernel(2 * p))
    M = metric(rng, 2 * p, "definite").astype("float32")
    given = rng.normal(size=(targets, len(data.train))).astype("float32")
    start = rng.normal(size=(p + targets, 1, len(data.train))).astype("float32")
    rounds = {}
    for steps in (0, 1, 300):
        for tf32 in (False, True):
            operations = emulated_operations(tf32)
            grid = GridEvaluator(operations, form, [data], "float32", 0.0, True)
            problem = grid.problem(M, tolerance, steps, [1.0])
            solutions, own = start.copy(), np.zeros((p, p), "float32")
            sums = operations.grid_round(
                problem, solutions, own, targets=given, target_tolerance=tolerance
            )
            rounds[steps, tf32] = vars(sums) | {"solutions": solutions, "own": own}
    for name, plain in rounds[0, False].items():  # the start as it is
        np.testing.assert_array_equal(plain, rounds[0, True][name], err_msg=name)
    one = [rounds[1, tf32]["solutions"] for tf32 in (False, True)]
    difference = np.abs(one[1] - one[0]).max() / np.abs(one[0]).max()
    assert 1e-6 < difference < 1e-2
    # A pass that does not halve the worst residual is the last one, with or without rounding.
    assert rounds[300, True]["residuals"].max() <= 2 * tolerance
    order = np.argsort(data.train @ [p, 1])
    inputs = pair_indices(data.train[order], p)
    K = REFERENCE.kernel_matrix(FAMILY[1].kernel(2 * p), M.astype(float), inputs)
    Y = np.concatenate([np.eye(p)[data.train_labels[order]].T, given])
    misses = np.linalg.norm(Y - one[1][:, 0] @ K, axis=1) / np.linalg.norm(Y, axis=1)
    np.testing.assert_allclose(rounds[1, True]["residuals"], misses, rtol=1e-3)


def test_memory_decides_how_many_solutions_are_kept():
    data = make_data(13)

    operations = CppOperations()
    need = ConjugateGradientMachine.required_bytes([data], 8, operations, depth=4)
    operations.device.available_bytes = lambda: need
    grid = GridEvaluator(
        operations, quadratic_form(FAMILY[0].kernel(26)), [data], "float64", 0.0, True
    )
    machine = ConjugateGradientMachine(operations, grid, "float64", 1e-9)
    assert machine.depth == 4
    for _ in range(6):
        assert machine.fit(np.eye(26))[0].residual <= 1e-9


def test_without_a_gpu_every_way_in_says_what_is_missing(caplog):
    if OBSTACLE is None:
        pytest.skip("there is a GPU")
    split = ModularTask("x+y", 5).split()
    for backend in ("cuda", "cuda-tf32", "cupy"):
        with pytest.raises(RuntimeError, match=f"backend: '{backend}'"):
            RFMClassifier(5, backend=backend).fit(split.X_train, split.y_train)
    with caplog.at_level(logging.INFO, logger="grokrfm"):
        assert not backends.make_operations("auto").batched
    assert "auto chose cpp" in caplog.text and "cuda" in caplog.text


def test_the_built_extension_reports_its_devices():
    module = pytest.importorskip("grokrfm._cuda", reason="the CUDA extension was not built")
    assert module.build_info()["cuda_architectures"] == "80-real 90"
    if module.device_count() == 0:
        with pytest.raises(RuntimeError, match="there is no GPU"):
            module.Device({}, False)


def test_the_built_extension_has_the_names_of_the_emulated_one():
    module = pytest.importorskip("grokrfm._cuda", reason="the CUDA extension was not built")
    names = {name for name in dir(module) if not name.startswith("_")}
    assert names == {name for name in dir(library()) if not name.startswith("_")}


def test_importing_grokrfm_needs_no_cupy():
    code = "import sys, grokrfm; sys.exit('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
