"""What bench/gpu_check.sh runs on a GPU.

python bench/gpu.py device                 is there one, and which
python bench/gpu.py small                  every operation once on small cases, for a sanitizer
python bench/gpu.py timings FILE.json      timings, as many as fit into the time; JSON
python bench/gpu.py table FOLDER           table of steps and timings; exit status 1 for failures
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

SECONDS = 220  # after which no timing is begun that is expected to take longer than what is left


def operations(tf32=False):
    from grokrfm.operations.backends import make_operations

    return make_operations("cuda-tf32" if tf32 else "cuda")


def facts():
    """The device and its software."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "device": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory_gb": properties["totalGlobalMem"] / 1e9,
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "cupy": cupy.__version__,
        "cuda_runtime": cupy.cuda.runtime.runtimeGetVersion(),
    }


def small():
    """Exact allocations instead of a pool, so that a sanitizer sees every overrun of an array."""
    import cupy
    from cases import CASES, make_data, make_problem, metric
    from device_arrays import OnHost
    from grokrfm.rfm.conjugate_gradients import ConjugateGradientMachine
    from grokrfm.rfm.grid import GridEvaluator

    cupy.cuda.set_allocator(None)
    ops = operations()
    on_host = OnHost(ops)
    for dtype in ("float32", "float64"):
        problem = make_problem(1, dtype, p=7, slots=3, n=61, m=23, c=5)
        for case in CASES:
            kernel = case.kernel(21)
            M, train, alpha = problem.M, problem.train, problem.dual_coefficients
            on_host.kernel_matrix(kernel, M, train)
            on_host.kernel_matrix(kernel, M, train, problem.evaluation)
            on_host.decision_function(kernel, M, problem.evaluation, train, alpha)
            on_host.agop(kernel, M, train, alpha, True)
        on_host.cholesky_solve(np.eye(33, dtype=dtype), np.ones((33, 3), dtype))
        on_host.matrix_power(
            np.stack([metric(np.random.default_rng(r), 6, "definite") for r in (0, 1)]), 0.5
        )
        for form in ((3.0, 0.0, 0.0), (1.0, 0.5, 1.0)):
            for block_bytes in (4 << 30, 60_000):
                type(ops).block_bytes = block_bytes
                for runs in ([make_data(7)], [make_data(7, 0), make_data(7, 1, 0.6)]):
                    grid = GridEvaluator(ops, form, runs, dtype, 0.1, True)
                    machine = ConjugateGradientMachine(ops, grid, dtype, 1e-4)
                    start = np.broadcast_to(np.eye(14), (*grid.leading, 14, 14))
                    M = ops.device.asarray(start, dtype)
                    for _ in range(3):
                        M = ops.matrix_power(machine.fit(M)[0].agop(), 0.5)
    cupy.cuda.Device().synchronize()
    print("every operation ran")


def seconds(call, repeats=5):
    """Median time of a call with all it put on the device."""
    import cupy

    call()
    times = []
    for _ in range(repeats):
        cupy.cuda.Device().synchronize()
        began = time.perf_counter()
        call()
        cupy.cuda.Device().synchronize()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def gemm_rate(dtype, n=8192):
    """Flops a second of a large product of random matrices."""
    import cupy

    A = cupy.random.random((n, n)).astype(dtype)
    return 2 * n**3 / seconds(lambda: A @ A)


def grid_step(p, dtype, tf32, rate):
    """A CG step for all classes, from solves of many and of few steps: 10 p⁴ flops."""
    from cases import make_data
    from grokrfm.rfm.grid import GridEvaluator

    ops, data = operations(tf32), make_data(p)
    grid = GridEvaluator(ops, (3.0, 0.0, 0.0), [data], dtype, 0.0, True)
    A = np.random.default_rng(0).normal(size=(2 * p, 2 * p)) / np.sqrt(2 * p)
    M = ops.device.asarray(A @ A.T + np.eye(2 * p), dtype)
    solutions = ops.device.xp.zeros((p, 1, len(data.train)), dtype=dtype)

    def solve(steps):
        solutions[...] = 0
        grid.round(M, solutions, 1e-30, steps, [])

    few, many = 2, 8
    times = [seconds(lambda steps=steps: solve(steps), 3) for steps in (few, many)]
    step = (times[1] - times[0]) / (many - few)
    flops = 10 * p**4 / step
    share = {} if tf32 else {"share_of_gemm": flops / rate[dtype]}
    return {"seconds": step, "tflops": flops / 1e12} | share


def dense(p):
    """Kernel matrix, Cholesky and AGOP on half of all pairs in float32."""
    from cases import make_data
    from grokrfm.operations.kernels import make_kernel
    from grokrfm.tasks import pair_indices

    ops, data = operations(), make_data(p)
    kernel = make_kernel("gaussian", bandwidth=2.5, depth=1, dimension=2 * p)
    train = ops.device.asarray(pair_indices(data.train, p), np.int32)
    M = ops.device.asarray(np.eye(2 * p), "float32")
    n, c = len(data.train), p
    K = ops.kernel_matrix(kernel, M, train)
    Y = ops.device.asarray(data.targets("float32"), "float32")
    matrix = seconds(lambda: ops.kernel_matrix(kernel, M, train, out=K))
    ridged = K + ops.device.xp.eye(n, dtype="float32")
    cholesky = seconds(lambda: ops.cholesky_solve(ridged.copy(), Y), 3)
    agop = seconds(lambda: ops.agop(kernel, M, train, Y, True), 3)
    return {
        "n": n,
        "kernel_matrix_seconds": matrix,
        "kernel_matrix_gb_per_second": 4 * n * n / matrix / 1e9,
        "cholesky_seconds": cholesky,
        "cholesky_tflops": (n**3 / 3 + 2 * n**2 * c) / cholesky / 1e12,
        "agop_seconds": agop,
        "agop_tflops": (4 * n**2 * c + 4 * n * c * p**2) / agop / 1e12,
    }


def run(p, iterations=30, stop=None, backend="cuda", **options):
    """A whole run of x+y with half of all pairs; the second of two for small p."""
    from grokrfm import ModularTask, RFMClassifier

    split = ModularTask("x+y", p).split(0.5, 0)
    model = RFMClassifier(p, solver="cg", backend=backend, iterations=iterations, **options)
    callbacks = [lambda now: now.record["test_accuracy"] >= stop] if stop else []
    for _ in range(2 if p < 500 else 1):
        began = time.perf_counter()
        model.fit(split.X_train, split.y_train, (split.X_test, split.y_test), callbacks)
        elapsed = time.perf_counter() - began
    history = model.history_
    return {
        "seconds": elapsed,
        "rounds": len(history["seconds"]),
        "cg_steps": float(history["cg_iterations"].sum()),
        "test_accuracy": float(history["test_accuracy"][-1]),
        "largest_residual": float(history["residual"].max()),
        "curve": history["test_accuracy"].round(5).tolist(),
    }


def many_runs(p, count):
    """Runs that go together, a second: seeds 0 … count − 1."""
    from grokrfm import ModularTask, RFMClassifier, fit_many

    splits = [ModularTask("x+y", p).split(0.5, seed) for seed in range(count)]

    def fit():
        return fit_many([RFMClassifier(p, solver="cg", backend="cuda") for _ in splits], splits)

    fit()
    began = time.perf_counter()
    models = fit()
    elapsed = time.perf_counter() - began
    return {
        "runs": count,
        "seconds": elapsed,
        "runs_per_second": count / elapsed,
        "mean_test_accuracy": float(np.mean([m.history_["test_accuracy"][-1] for m in models])),
    }


def tf32_accuracy(p):
    """A run with TF32 in the steps beside one without: the largest difference of the curves."""
    plain, rounded = (run(p, 20, backend=name) for name in ("cuda", "cuda-tf32"))
    difference = np.abs(np.subtract(plain["curve"], rounded["curve"])).max()
    return {
        "largest_difference_of_accuracy": float(difference),
        "largest_residual": rounded["largest_residual"],
        "seconds": rounded["seconds"],
        "seconds_without": plain["seconds"],
    }


def timings(path):
    began, failed = time.perf_counter(), False
    rate = {dtype: gemm_rate(dtype) for dtype in ("float32", "float64")}
    result = {"facts": facts(), "gemm_tflops": {k: v / 1e12 for k, v in rate.items()}}
    # name, seconds it may take on an H100, call
    plan = [
        ("run p=61", 5, lambda: run(61)),
        ("256 runs p=61 together", 15, lambda: many_runs(61, 256)),
        ("run p=199", 8, lambda: run(199)),
        ("CG step p=199 float32", 5, lambda: grid_step(199, "float32", False, rate)),
        ("CG step p=499 float32", 8, lambda: grid_step(499, "float32", False, rate)),
        ("CG step p=499 float64", 8, lambda: grid_step(499, "float64", False, rate)),
        ("CG step p=499 TF32", 5, lambda: grid_step(499, "float32", True, rate)),
        ("TF32 run p=199", 8, lambda: tf32_accuracy(199)),
        ("dense p=97", 10, lambda: dense(97)),
        ("dense p=199", 15, lambda: dense(199)),
        ("run p=997 to 99 %", 45, lambda: run(997, stop=0.99)),
        ("1 round p=1999", 70, lambda: run(1999, iterations=0)),
    ]
    for name, expected, call in plan:
        import cupy

        left = SECONDS - (time.perf_counter() - began)
        if left < expected:
            row = {"not_run": f"{left:.0f} s left, {expected} s expected"}
        else:
            try:
                row = call()
            except Exception as error:
                row, failed = {"failed": f"{type(error).__name__}: {error}"}, True
        cupy.get_default_memory_pool().free_all_blocks()
        result[name] = row
        print(name, {key: value for key, value in row.items() if key != "curve"})
        Path(path).write_text(json.dumps(result, indent=1) + "\n")
    return int(failed)


def table(folder):
    folder, failed = Path(folder), False
    rows = []
    for line in (folder / "steps.tsv").read_text().splitlines():
        name, status, took = line.split("\t")
        failed |= status != "0"
        verdict = (
            "ok" if status == "0" else "TIMED OUT" if status == "124" else f"FAILED ({status})"
        )
        rows.append({"step": name, "status": int(status), "seconds": int(took)})
        print(f"{name:26s} {verdict:12s} {took:>4s} s   {folder / (name + '.log')}")
    path = folder / "timings.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    for name, row in result.items():
        if not isinstance(row, dict):
            continue
        figures = ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row.items()
            if key != "curve"
        )
        print(f"{name:26s} {figures}")
    (folder / "gpu.json").write_text(json.dumps({"steps": rows} | result, indent=1) + "\n")
    print("FAILED" if failed else "all steps went well", "-", folder / "gpu.json")
    return int(failed)


def main(command, *arguments):
    if command == "device":
        import grokrfm

        print(facts(), type(operations()).__name__, grokrfm.__file__)
        return 0
    if command == "small":
        return small()
    return {"timings": timings, "table": table}[command](*arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
