"""Classes and dense right-hand sides in one round on the grid, against the array source."""

from dataclasses import replace

import numpy as np
import pytest
from cases import DTYPES, FAMILY, make_data, metric
from device_arrays import xp as device_xp
from emulated import emulated_operations, library
from grokrfm import ModularTask, RFMClassifier
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.cuda import CudaOperations
from grokrfm.operations.kernels import quadratic_form
from grokrfm.operations.reference import ArrayOperations
from grokrfm.rfm.grid import GridEvaluator
from grokrfm.tasks import pair_indices

REFERENCE = ArrayOperations()


def round_of(operations, data, case, chosen, pairs, *, start, steps=300, ridge=0.1, dtype):
    """What a round for the chosen classes and for pairs leaves, in float64, by name.

    Tolerances far apart, 1e-4 and 1e-2 in double precision.
    """
    p, rng = data.modulus, np.random.default_rng(3)
    device, kernel = operations.device, case.kernel(2 * data.modulus)
    M = device.asarray(metric(rng, 2 * p, "definite"), dtype)
    grid = GridEvaluator(operations, quadratic_form(kernel), [data], dtype, ridge, True)
    problem = grid.of_classes(grid.problem(M, 1e-4, steps, [1.5, -0.5]), np.array(chosen, int))
    train = data.train[np.argsort(data.train @ [p, 1])]
    inputs = [device.asarray(pair_indices(part, p), np.int32) for part in (pairs, train)]
    targets = operations.kernel_matrix(kernel, M, *inputs) if len(pairs) else None
    shape = (len(chosen) + len(pairs), 3, len(train))
    solutions = device.asarray(start * rng.normal(size=shape), dtype)
    own = device.xp.zeros((p, p), dtype=dtype)
    sums = operations.grid_round(problem, solutions, own, targets=targets, target_tolerance=1e-2)
    found = vars(sums) | {"solutions": solutions, "own": own}
    return {name: np.asarray(device.to_numpy(found[name]), float) for name in found}


def assert_same(actual, expected, bound):
    assert actual.keys() == expected.keys()
    for name, theirs in expected.items():
        ours, finite = actual[name].reshape(theirs.shape), np.isfinite(theirs)
        np.testing.assert_array_equal(ours[~finite], theirs[~finite], err_msg=name)
        scale = np.abs(theirs[finite]).max(initial=0)
        np.testing.assert_allclose(ours[finite], theirs[finite], 0, bound * scale, err_msg=name)


WAYS = {  # classes, how many pairs
    "classes and pairs": ([4, 0, 3], 5),
    "classes alone": ([1, 4], 0),
    "pairs alone": ([], 4),
    "one of each": ([2], 1),
    "all classes": (range(7), 3),
}


@pytest.fixture(params=["cpp", "cuda", "cuda, many blocks"])
def operations(request):
    if request.param == "cpp":
        return CppOperations()
    emulated = emulated_operations()
    if "many" in request.param:
        emulated.block_bytes = 30_000  # at p = 7 two columns in float64, in float32 six
        for columns, itemsize in ((3, 8), (7, 4)):
            assert (
                library().grid_round_bytes(7, columns, 0, itemsize, 1 << 30) > emulated.block_bytes
            )
    return emulated


@pytest.mark.parametrize("start", [0.0, 1.0], ids=["from zero", "from a solution"])
@pytest.mark.parametrize("chosen, pairs", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("case", FAMILY, ids=str)
def test_every_sum_and_column(operations, case, chosen, pairs, start):
    data = make_data(7)
    given = (data, case, list(chosen), data.test[:pairs])
    actual, expected = (
        round_of(ops, *given, start=start, steps=4, dtype="float64")
        for ops in (operations, REFERENCE)
    )
    assert_same(actual, expected, 1e-8)


@pytest.mark.parametrize("steps", [0, 300])
@pytest.mark.parametrize("p, fraction", [(2, 0.5), (5, 0.04), (9, 1), (17, 0.4)])
def test_at_the_edges(operations, p, fraction, steps):
    """p = 2, one training pair, all pairs; classes without training pairs among them."""
    data = make_data(p, fraction=fraction)
    given = (data, FAMILY[1], [p - 1, 0], data.train[:3])
    actual, expected = (
        round_of(ops, *given, start=0.5, steps=steps, dtype="float64")
        for ops in (operations, REFERENCE)
    )
    for found in (actual, expected):  # a step more or less at the tolerance
        residuals = found.pop("residuals")
        if steps:
            assert residuals[..., :2].max() <= 1e-4 and residuals[..., 2:].max() <= 1e-2
        assert found.pop("iterations").max() <= 30
        if not steps:  # only a solve has products
            found.pop("products")
    assert_same(actual, expected, 3e-2 if steps else 1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_class(operations, dtype):
    data = make_data(7)
    known = data.train_labels != 3
    data = replace(data, train=data.train[known], train_labels=data.train_labels[known])
    chosen, pairs = [3, 5, 0, 1, 2, 4, 6], data.test[:2]
    found = round_of(operations, data, FAMILY[0], chosen, pairs, start=0.0, dtype=dtype)
    assert (found["solutions"][0, 0] == 0).all() and found["residuals"].flat[0] == 0
    assert all(np.isfinite(values).all() for values in found.values())


def test_several_runs_have_targets_of_their_own():
    """Each as if it were alone, with pairs of its own."""
    operations, p, rng = emulated_operations(), 7, np.random.default_rng(0)
    runs = [make_data(p, seed, fraction) for seed, fraction in ((0, 0.5), (1, 0.4))]
    n, form = max(len(run.train) for run in runs), quadratic_form(FAMILY[1].kernel(2 * p))
    M = np.stack([metric(rng, 2 * p, "definite") for _ in runs])
    targets = rng.normal(size=(2, 3, n))

    def solve(data, M, targets):
        grid = GridEvaluator(operations, form, data, "float64", 0.1, True)
        weights = np.ones((*grid.leading, 1))
        solutions = np.zeros((*grid.leading, p + 3, 1, targets.shape[-1]))
        own = np.zeros((*grid.leading, p, p))
        sums = operations.grid_round(
            grid.problem(M, 1e-8, 300, weights if grid.leading else [1.0]),
            solutions,
            own,
            targets=targets,
            target_tolerance=1e-6,
        )
        return solutions, sums

    together, sums = solve(runs, M, targets)
    for run, data in enumerate(runs):
        size = len(data.train)
        alone, of_run = solve([data], M[run], targets[run, :, :size])
        np.testing.assert_allclose(together[run, ..., :size], alone, atol=1e-6)
        assert_same({"zqz": sums.zqz[run]}, {"zqz": of_run.zqz}, 1e-6)


def test_targets_are_checked():
    data, p = make_data(5), 5
    operations, n = emulated_operations(), len(data.train)
    grid = GridEvaluator(operations, (3.0, 0.0, 0.0), [data], "float64", 0.0, True)
    problem = grid.problem(np.eye(2 * p), 1e-3, 5, [])
    for targets, error, message in (
        (np.zeros((3, n)), ValueError, "targets: expected at most 2 a run, got 3"),
        (np.zeros((1, n + 1)), ValueError, r"targets: expected shape \(1, -1, 12\)"),
        (np.zeros((1, n), "float32"), TypeError, "targets: expected type <f8"),
    ):
        with pytest.raises(error, match=message):
            operations.grid_round(problem, np.zeros((2, 1, n)), np.zeros((p, p)), targets=targets)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p, fraction, operation", [(2, 0.5, "x+y"), (11, 0.6, "x*y")])
@pytest.mark.parametrize("kernel", ["quadratic", "general_quadratic", "gaussian", "laplace"])
def test_sampled_runs_on_every_backend(emulated_backend, kernel, p, fraction, operation, dtype):
    """History, feature matrix and what the fitted model says, on cuda as on cpp and numpy."""
    split = ModularTask(operation, p).split(fraction, 0)
    tol = 1e-9 if dtype == "float64" else 1e-5
    options = {"agop_classes": min(5, p), "eval_pairs": 9, "iterations": 3, "ridge": 1e-2}
    cuda, *others = (
        RFMClassifier(p, kernel, backend=backend, dtype=dtype, tol=tol, **options).fit(split)
        for backend in ("cuda", "cpp", "numpy")
    )
    bound = 1e-5 if dtype == "float64" else 5e-3
    for other in others:
        for key in ("train_mse", "test_mse", "feature_trace"):
            np.testing.assert_allclose(
                cuda.history_[key], other.history_[key], rtol=bound, atol=1e-6, err_msg=key
            )
        scale = np.abs(other.feature_matrix_).max()
        np.testing.assert_allclose(cuda.feature_matrix_, other.feature_matrix_, atol=bound * scale)
        outputs = other.decision_function(split.X_test)
        np.testing.assert_allclose(
            cuda.decision_function(split.X_test), outputs, atol=bound * np.abs(outputs).max()
        )
        np.testing.assert_allclose(
            cuda.history_["test_accuracy"], other.history_["test_accuracy"], atol=0.12
        )
        known = split.X_train, split.y_train
        assert cuda.score(*known) == pytest.approx(other.score(*known), abs=0.03)


@pytest.mark.parametrize("kernel", ["general_quadratic", "gaussian"])
@pytest.mark.parametrize("compiled", [True, False], ids=["cuda", "cupy"])
def test_a_sampled_run_stays_on_the_device(compiled, kernel, monkeypatch):
    """With arrays that do not mix with the host's: what would fail under CuPy alone."""
    device = library().Device({}, False)
    operations = (
        CudaOperations(library(), device, device_xp) if compiled else ArrayOperations(device_xp)
    )
    monkeypatch.setattr("grokrfm.rfm.classifier.make_operations", lambda backend: operations)
    split = ModularTask("x*y", 11).split(0.5, 0)
    options = {"kernel": kernel, "iterations": 2, "dtype": "float64", "ridge": 1e-2, "tol": 1e-9}
    models = [RFMClassifier(11, agop_classes=4, eval_pairs=6, **options) for _ in range(2)]
    models[0].fit(split)
    outputs = models[0].decision_function(split.X_test[:4])
    agop = models[0].agop()
    monkeypatch.undo()
    models[1].fit(split)
    scale = np.abs(models[1].agop()).max()
    np.testing.assert_allclose(agop, models[1].agop(), atol=1e-5 * scale)
    np.testing.assert_allclose(outputs, models[1].decision_function(split.X_test[:4]), atol=1e-4)
