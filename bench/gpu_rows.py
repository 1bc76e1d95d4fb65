"""Rows of timings and comparisons for a GPU, any of which runs on another backend as well.

A row calls note(**figures) with what it knows, again and again: what it has noted stays if it is
stopped. Rows of the same name of function differ in sizes and backends alone (`ROWS`).
"""

import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from cases import CASES, make_data, make_problem, metric
from device_arrays import OnHost
from grokrfm import FCNClassifier, ModularTask, RFMClassifier, fit_many
from grokrfm.operations import make_kernel, make_operations
from grokrfm.rfm.grid import GridEvaluator
from grokrfm.tasks import pair_indices

QUADRATIC = (3.0, 0.0, 0.0)
BLOCK_NUMBERS = 1 << 27  # of one array in `products`


def synchronize(xp):
    if xp is not np:
        xp.cuda.Device().synchronize()


def seconds(xp, call, repeats=5):
    """Median time of a call with all it put on the device."""
    call()
    times = []
    for _ in range(repeats):
        synchronize(xp)
        began = time.perf_counter()
        call()
        synchronize(xp)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def relative(actual, expected):
    """Largest difference beside the largest entry."""
    expected = np.asarray(expected, dtype=np.float64)
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-300))


def operations_agree(note, backend="cuda", p=9, than="cpp"):
    """Every dense operation beside that of another backend: the largest relative differences."""
    ours, theirs = (OnHost(make_operations(name)) for name in (backend, than))
    largest, above = {}, []

    def compare(name, bound, call):
        error = relative(call(ours), call(theirs))
        largest[name] = max(error, largest.get(name, 0.0))
        if not error <= bound:
            above.append(f"{name}: {error:.1e} > {bound:.1e}")
        note(**largest)

    for dtype in ("float32", "float64"):
        given = make_problem(1, dtype, p=p, slots=3, n=31 * p, m=7 * p, c=p)
        M, train, other, alpha = given.M, given.train, given.evaluation, given.dual_coefficients
        for case in CASES:
            kernel, bound = case.kernel(3 * p), 2 * case.bound(dtype)
            for name, times, arguments in (
                ("kernel_matrix", 1, (M, train)),  # filled by symmetry
                ("kernel_matrix", 1, (M, train, other)),
                ("decision_function", 1, (M, other, train, alpha)),
                ("kernel_product", 1, (M, train, alpha)),
                ("agop", 10, (M, train, alpha, True)),
            ):
                compare(
                    f"{name} {dtype}",
                    times * bound,
                    lambda on, name=name, given=(kernel, *arguments): getattr(on, name)(*given),
                )
        K, Y = metric(np.random.default_rng(0), 8 * p, "definite"), np.eye(8 * p)[:, :p]
        K, Y, bound = K.astype(dtype), Y.astype(dtype), 1e-4 if dtype == "float32" else 1e-11
        compare(f"cholesky_solve {dtype}", bound, lambda on, K=K, Y=Y: on.cholesky_solve(K, Y))
        compare(f"matrix_power {dtype}", bound, lambda on, K=K: on.matrix_power(K, 0.5))
    assert not above, above


def runs_agree(note, backend="cuda", p=23, than="cpp", kinds=None):
    """`fit` and `fit_many` beside those of another backend: the largest relative differences."""
    splits = [ModularTask("x+y", p).split(share, seed) for seed, share in enumerate((0.5, 0.6))]
    options = {"iterations": 8, "dtype": "float64", "tol": 1e-9}
    # An output more or less may be the largest; pairs alone are solved for to 1e-3.
    bounds = {"test_accuracy": 0.05, "test_mse": 1e-4, "feature_trace": 1e-4}
    above = []
    for name, kind in (kinds or KINDS).items():
        chosen = splits if name == "together" else splits[:1]
        both = [
            fit_many([RFMClassifier(p, backend=of, **options, **kind) for _ in chosen], chosen)
            for of in (backend, than)
        ]
        histories = [(ours.history_, theirs.history_) for ours, theirs in zip(*both, strict=True)]
        errors = {
            key: float(np.max([relative(ours[key], theirs[key]) for ours, theirs in histories]))
            for key in bounds
        }
        note(**{name: errors})
        above += [f"{name} {key}" for key, error in errors.items() if not error <= bounds[key]]
    assert not above, above


def networks_agree(note, backend="cuda", p=23, than="cpp"):
    """The weights of a network trained on another backend: the largest relative difference."""
    split = ModularTask("x+y", p).split(0.5, 0)
    weights = [
        FCNClassifier(p, hidden_width=32, epochs=2, dtype="float64", backend=of)
        .fit(split.X_train, split.y_train)
        .network_.weights()[0]
        for of in (backend, than)
    ]
    note(weights=relative(*weights))
    assert relative(*weights) < 1e-8


def products(note, backend="cuda", sizes=((61, 256), (199, 1), (997, 1), (1999, 1))):
    """Rates of products as the solver has them, (modulus, runs) each, in float32."""
    xp = make_operations(backend).device.xp
    for p, runs in sizes:
        c = min(p, max(1, BLOCK_NUMBERS // (runs * p * p)))
        rng = np.random.default_rng(0)
        grids, right = (
            xp.asarray(rng.random(shape, dtype=np.float32))
            for shape in ((runs * c, p, p), (runs, p, 2 * p))
        )
        rows, each = grids.reshape(runs, c * p, p), grids[:, ::-1].copy()
        together = 4 * runs * c * p**3 / seconds(xp, lambda a=rows, b=right: a @ b)
        apart = 2 * runs * c * p**3 / seconds(xp, lambda a=grids, b=each: a @ b)
        name = f"p={p}" + (f" runs={runs}" if runs > 1 else "")
        note(**{name: {"together_tflops": together / 1e12, "each_tflops": apart / 1e12}})
    note(large_tflops=product_rate(xp, "float32", 8192 if xp is not np else 512) / 1e12)


def product_rate(xp, dtype, n=4096):
    """Flops a second of a large product of random matrices."""
    A = xp.asarray(np.random.default_rng(0).random((n, n)).astype(dtype))
    return 2 * n**3 / seconds(xp, lambda: A @ A)


def square_roots(note, backend="cuda", sizes=((1, 122), (256, 122), (1, 398), (1, 1994))):
    """Square roots of (count, rows) matrices of full rank in float32, in each way that there is."""
    made, errors = make_operations(backend), []
    ways = {"": made}
    if hasattr(made, "root_rows"):
        ways = {" by eigenvectors": copy(made), " by Newton-Schulz": copy(made)}
        for ops, most in zip(ways.values(), (np.inf, 0), strict=True):
            ops.root_rows = most
    for count, d in sizes:
        if count > 1 and not made.batched:
            continue
        factor = np.random.default_rng(0).normal(size=(d, d)) / d**0.5
        xp = made.device.xp
        G = made.device.asarray(factor @ factor.T, "float32")
        G = G if count == 1 else xp.stack([G] * count)
        for way, ops in ways.items():
            took = seconds(xp, lambda G=G, ops=ops: ops.matrix_power(G, 0.5), 3)
            root = ops.matrix_power(G, 0.5)
            errors.append(float(xp.abs(root @ root - G).max() / xp.abs(G).max()))
            note(**{f"{count} of d={d}{way}": {"seconds": took, "error": errors[-1]}})
    assert all(error < 1e-4 for error in errors), errors


def coarse_matrices(note, backend="cuda", sizes=((256, 122), (36, 262), (10, 398))):
    """Coarse matrices of (runs, rows) that go together, and the same by the general solve."""
    ops, errors = make_operations(backend), []
    xp, to_numpy = ops.device.xp, ops.device.to_numpy

    def solve(C, G):
        return xp.linalg.solve(xp.eye(C.shape[-1], dtype=C.dtype) + C @ G, C)

    for count, d in sizes:
        C, G = (
            ops.device.asarray(
                [metric(np.random.default_rng(seed), d, "definite")] * count, "float32"
            )
            for seed in (0, 1)
        )
        ways = partial(ops.damped_inverse, C, G), partial(solve, C, G)
        took, solved = (seconds(xp, way, 3) for way in ways)
        error = relative(*(to_numpy(way()) for way in ways))
        errors.append(error)
        figures = {"seconds": took, "solve_seconds": solved, "difference": error}
        note(**{f"{count} of d={d}": figures})
    assert all(error < 1e-3 for error in errors), errors


def run(note, p, backend="cuda", stop=None, times=1, iterations=30, **options):
    """A whole run of x+y with half of all pairs, the last of so many.

    `rounds_seconds` are of the rounds alone; before them stands `setup_seconds`, and after the last
    `gather_seconds`: the dual coefficients on their way to the host.
    """
    split = ModularTask("x+y", p).split(0.5, 0)
    options = {"solver": "cg", "keep_features": "last", **options}
    for _ in range(times):
        model = RFMClassifier(p, backend=backend, iterations=iterations, **options)
        columns = {"seconds": [], "test_accuracy": [], "cg_iterations": [], "residual": []}
        reached = [time.perf_counter()]  # beginning, and the end of every round

        def watch(current, columns=columns, reached=reached):
            reached.append(time.perf_counter())
            for name, values in columns.items():
                values.append(float(current.record[name]))
            note(
                rounds=len(columns["seconds"]),
                rounds_seconds=sum(columns["seconds"]),
                cg_steps=sum(columns["cg_iterations"]),
                test_accuracy=columns["test_accuracy"][-1],
                largest_residual=max(columns["residual"]),
                curves=columns,
            )
            return stop is not None and columns["test_accuracy"][-1] >= stop

        model.fit(split, callbacks=[watch])
        ended = time.perf_counter()
        note(
            seconds=ended - reached[0],
            setup_seconds=reached[1] - reached[0] - columns["seconds"][0],
            gather_seconds=ended - reached[-1],
        )
        assert stop is None or columns["test_accuracy"][-1] >= stop, f"accuracy {stop} not reached"


def many_runs(note, p, count, backend="cuda", **options):
    """Runs that go together, seeds 0 … count − 1; the second time of two."""
    splits = [ModularTask("x+y", p).split(0.5, seed) for seed in range(count)]
    for _ in range(2):
        models = [
            RFMClassifier(p, solver="cg", backend=backend, keep_features="last", **options)
            for _ in splits
        ]
        began = time.perf_counter()
        fit_many(models, splits)
        elapsed = time.perf_counter() - began
        rounds = float(sum(model.history_["seconds"].sum() for model in models))
        note(
            runs=count,
            seconds=elapsed,
            rounds_seconds=rounds,
            other_seconds=elapsed - rounds,
            runs_per_second=count / elapsed,
            mean_test_accuracy=float(np.mean([m.history_["test_accuracy"][-1] for m in models])),
        )


def tf32_run(note, p, backend="cuda-tf32", than="cuda", iterations=20):
    """A run with TF32 in the steps beside one without: the largest difference of the curves."""
    figures = [{}, {}]
    for name, noted in zip((than, backend), figures, strict=True):
        run(noted.update, p, backend=name, iterations=iterations, times=2)
    curves = [noted["curves"]["test_accuracy"] for noted in figures]
    difference = float(np.abs(np.subtract(*curves)).max())
    note(
        largest_difference_of_accuracy=difference,
        largest_residual=figures[1]["largest_residual"],
        seconds=figures[1]["seconds"],
        seconds_without=figures[0]["seconds"],
    )
    assert difference < 0.05


def _grid(backend, p, dtype="float32"):
    """Operations, evaluator and a well-conditioned feature matrix of a run."""
    ops, data = make_operations(backend), make_data(p)
    A = np.random.default_rng(0).normal(size=(2 * p, 2 * p)) / np.sqrt(2 * p)
    M = ops.device.asarray(A @ A.T + np.eye(2 * p), dtype)
    grid = GridEvaluator(ops, QUADRATIC, [data], dtype, 0.0, True)
    return ops, grid, M, ops.device.xp.zeros((p, 1, len(data.train)), dtype=dtype)


def cg_step(note, p, backend="cuda", dtype="float32"):
    """A CG step for all classes, from solves of many and of few steps: 10 p⁴ flops."""
    ops, grid, M, solutions = _grid(backend, p, dtype)

    def solve(steps):
        solutions[...] = 0
        grid.round(M, solutions, 1e-30, steps, [])

    few, many = 2, 8
    times = [seconds(ops.device.xp, partial(solve, steps), 3) for steps in (few, many)]
    step = (times[1] - times[0]) / (many - few)
    rate = 10 * p**4 / step
    note(seconds=step, tflops=rate / 1e12)
    if not backend.endswith("tf32"):
        n = 4096 if ops.device.xp is not np else 512
        note(share_of_large_product=rate / product_rate(ops.device.xp, dtype, n))


def stages(note, p, backend="cuda", steps=4):
    """Where a round's time goes: each of its stages by itself, with all it put on the device."""
    ops, grid, M, solutions = _grid(backend, p)
    timed = partial(seconds, ops.device.xp, repeats=3)
    evaluated = grid.round(M, solutions, 1e-30, steps, [])[0][0]
    agop = evaluated.agop()
    note(shared_seconds=timed(lambda: grid.problem(M, 1e-30, steps, [])))
    note(evaluation_seconds=timed(lambda: grid.round(M, solutions, 1e-30, 0, [])))
    note(solve_seconds=timed(lambda: grid.round(M, solutions, 1e-30, steps, [])), steps=steps)
    note(
        agop_seconds=timed(evaluated.agop), power_seconds=timed(lambda: ops.matrix_power(agop, 0.5))
    )
    note(gather_seconds=timed(lambda: grid.to_data_order(solutions[:, 0])))


def dense(note, p, backend="cuda"):
    """Kernel matrix, Cholesky and AGOP on half of all pairs in float32."""
    ops, data = make_operations(backend), make_data(p)
    xp = ops.device.xp
    kernel = make_kernel("gaussian", bandwidth=2.5, depth=1, dimension=2 * p)
    train = ops.device.asarray(pair_indices(data.train, p), np.int32)
    M, n = ops.device.asarray(np.eye(2 * p), "float32"), len(data.train)
    K = ops.kernel_matrix(kernel, M, train)
    Y = ops.device.asarray(data.targets("float32"), "float32")
    took = seconds(xp, lambda: ops.kernel_matrix(kernel, M, train, out=K))
    note(n=n, kernel_matrix_seconds=took, kernel_matrix_gb_per_second=4 * n * n / took / 1e9)
    ridged = K + xp.eye(n, dtype="float32")
    took = seconds(xp, lambda: ops.cholesky_solve(ridged.copy(), Y), 3)
    note(cholesky_seconds=took, cholesky_tflops=(n**3 / 3 + 2 * n**2 * p) / took / 1e12)
    took = seconds(xp, lambda: ops.agop(kernel, M, train, Y, True), 3)
    note(agop_seconds=took, agop_tflops=(4 * n**2 * p + 4 * n * p**3) / took / 1e12)


@dataclass(frozen=True)
class Row:
    """A row: its name, how many seconds it may take, what it calls, and variables that it needs."""

    name: str
    limit: int
    call: Callable[..., None]
    environment: dict[str, str] = field(default_factory=dict)


KINDS = {
    "cg": {"solver": "cg"},
    "cg, general quadratic": {"solver": "cg", "kernel": "general_quadratic"},
    "drawn classes": {"solver": "cg", "agop_classes": 5},
    "cholesky, gaussian": {"solver": "cholesky", "kernel": "gaussian", "ridge": 1e-3},
    "together": {"solver": "cg"},
}
SAMPLED_KINDS = {
    "drawn pairs": {"agop_classes": 5, "eval_pairs": 40},
    "drawn pairs, gaussian": {"agop_classes": 5, "eval_pairs": 40, "kernel": "gaussian"},
}
SAMPLED = {"agop_classes": 16, "eval_pairs": 48, "tol": 1e-2}
TF32 = {"CUPY_TF32": "1"}

# What decides comes first.
ROWS = (
    Row("operations beside cpp", 45, operations_agree),
    Row("runs beside cpp", 45, runs_agree),
    Row("networks beside cpp", 30, networks_agree),
    Row("sampled runs beside cpp", 45, partial(runs_agree, kinds=SAMPLED_KINDS)),
    Row("run p=61", 25, partial(run, p=61, times=2)),
    Row("256 runs p=61", 40, partial(many_runs, p=61, count=256)),
    Row("run p=199", 25, partial(run, p=199, times=2)),
    Row("sampled p=997", 45, partial(run, p=997, stop=0.99, **SAMPLED)),
    Row("run p=997", 60, partial(run, p=997, stop=0.99)),
    Row("sampled p=1999", 60, partial(run, p=1999, stop=0.99, **SAMPLED)),
    Row("sampled p=4999", 110, partial(run, p=4999, stop=0.99, **SAMPLED)),
    Row("cpp: run p=61", 15, partial(run, p=61, backend="cpp", times=2)),
    Row("cpp: run p=199", 25, partial(run, p=199, backend="cpp", iterations=14)),
    Row("products float32", 30, products),
    Row("products TF32", 30, products, TF32),
    Row("square roots", 30, square_roots),
    Row("coarse matrices", 30, coarse_matrices),
    Row("stages p=61", 20, partial(stages, p=61)),
    Row("stages p=199", 20, partial(stages, p=199)),
    Row("stages p=997", 45, partial(stages, p=997)),
    Row("CG step p=199 float32", 20, partial(cg_step, p=199)),
    Row("CG step p=499 float32", 25, partial(cg_step, p=499)),
    Row("CG step p=499 float64", 25, partial(cg_step, p=499, dtype="float64")),
    Row("CG step p=499 TF32", 25, partial(cg_step, p=499, backend="cuda-tf32")),
    Row("TF32 run p=199", 25, partial(tf32_run, p=199)),
    Row("cpp: products float32", 20, partial(products, backend="cpp", sizes=((199, 1), (997, 1)))),
    Row("cpp: sampled p=997", 60, partial(run, p=997, backend="cpp", iterations=9, **SAMPLED)),
    Row("cupy: sampled p=997", 45, partial(run, p=997, backend="cupy", iterations=9, **SAMPLED)),
    Row("dense p=97", 20, partial(dense, p=97)),
    Row("dense p=199", 30, partial(dense, p=199)),
)
