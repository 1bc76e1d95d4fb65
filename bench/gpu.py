"""What bench/gpu_check.sh runs on a GPU; any part of it may be called alone.

python bench/gpu.py device [FILE.json]       is there one, and which
python bench/gpu.py small                    every operation once on small cases, for a sanitizer
python bench/gpu.py row NAME FILE.json       one row of gpu_rows.ROWS
python bench/gpu.py rows FOLDER SECONDS      all rows, each in a process with a limit of its own
python bench/gpu.py collect FOLDER RESULTS   gpu.json and logs.tar.gz of what is there so far
python bench/gpu.py table RESULTS            what gpu.json says; exit status 1 for failures

FOLDER has `steps.tsv`, logs, `device.json` and `rows`.
"""

import json
import os
import subprocess
import sys
import tarfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

LEAST = 5  # seconds; with less left no row is begun


def write(path, result):
    """Whole or not at all, whatever ends the process."""
    part = Path(f"{path}.part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(path)


def read(path):
    return json.loads(Path(path).read_text())


def device(path=None):
    """The GPU, its software and the machine around it."""
    import grokrfm
    import machine
    from grokrfm.operations import make_operations

    operations = make_operations("cuda")  # or it says what is missing
    cupy = operations.device.xp
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    facts = {
        "device": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory_gb": properties["totalGlobalMem"] / 1e9,
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "cupy": cupy.__version__,
        "cuda_runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "operations": type(operations).__name__,
        "installed_in": grokrfm.__file__,
    }
    print(facts)
    if path is not None:
        write(path, facts | {"machine": machine.facts()})


def small(operations=None):
    """Exact allocations instead of a pool, so that a sanitizer sees every overrun of an array."""
    import numpy as np
    from cases import CASES, FAMILY, make_data, make_problem, metric
    from device_arrays import OnHost
    from gpu_rows import synchronize
    from grokrfm.operations import make_operations, quadratic_form
    from grokrfm.rfm.conjugate_gradients import ConjugateGradientMachine
    from grokrfm.rfm.grid import GridEvaluator
    from grokrfm.rfm.grid_columns import GridColumns
    from grokrfm.rfm.sampling import Draw

    ops = operations or make_operations("cuda")
    xp, on_host, whole = ops.device.xp, OnHost(ops), ops.block_bytes
    if xp is not np:
        xp.cuda.set_allocator(None)
    for dtype in ("float32", "float64"):
        problem = make_problem(1, dtype, p=7, slots=3, n=61, m=23, c=5)
        for case in CASES:
            kernel = case.kernel(21)
            M, train, alpha = problem.M, problem.train, problem.dual_coefficients
            on_host.kernel_matrix(kernel, M, train)
            on_host.kernel_matrix(kernel, M, train, problem.evaluation)
            on_host.decision_function(kernel, M, problem.evaluation, train, alpha)
            on_host.kernel_product(kernel, M, train, alpha)
            for centred in (True, False):
                on_host.agop(kernel, M, train, alpha, centred)
        on_host.cholesky_solve(np.eye(33, dtype=dtype), np.ones((33, 3), dtype))
        on_host.matrix_power(
            np.stack([metric(np.random.default_rng(r), 6, "definite") for r in (0, 1)]), 0.5
        )
        for case in FAMILY[:2]:
            kernel = case.kernel(14)
            for block_bytes in (whole, 1):  # one column a block
                ops.block_bytes = block_bytes
                for runs in ([make_data(7)], [make_data(7, 0), make_data(7, 1, 0.6)]):
                    grid = GridEvaluator(ops, quadratic_form(kernel), runs, dtype, 0.1, True)
                    machine = ConjugateGradientMachine(ops, grid, dtype, 1e-4)
                    start = np.broadcast_to(np.eye(14), (*grid.leading, 14, 14))
                    M = ops.device.asarray(start, dtype)
                    for _ in range(3):
                        M = ops.matrix_power(machine.fit(M)[0].agop(), 0.5)
                    if len(runs) == 1:
                        # With weights that differ the AGOP takes a round without steps.
                        draw = Draw(np.array([4, 1]), np.array([1.0, 2.0]))
                        columns = GridColumns(ops, kernel, grid, 1e-4, 1e-3).at(M)
                        columns.solve(draw, runs[0].test[:3]).agop()
    ops.block_bytes = whole
    synchronize(xp)
    print("every operation ran")


def row(name, path):
    """One row; what it notes is in the file at once."""
    from gpu_rows import ROWS

    [chosen] = [each for each in ROWS if each.name == name]
    return record(name, chosen.call, path)


def record(name, call, path):
    """Call with a `note` that writes; exit status 1 if it raises."""
    figures = {}

    def note(**more):
        figures.update(more)
        write(path, {"name": name, "status": "running", "figures": figures})

    note()
    status = "ok"
    try:
        call(note)
    except Exception as error:
        traceback.print_exc()
        status = f"failed: {type(error).__name__}: {error}"
    write(path, {"name": name, "status": status, "figures": figures})
    print(name, status, figures)
    return int(status != "ok")


def rows(folder, left):
    """All rows, one after the other, as long as there is time; exit status 1 unless all are ok."""
    from gpu_rows import ROWS

    folder = Path(folder) / "rows"
    folder.mkdir(exist_ok=True)
    end, failed = time.monotonic() + float(left), False
    for number, each in enumerate(ROWS):
        path = folder / f"{number:02d}.json"
        command = [sys.executable, __file__, "row", each.name, str(path)]
        result = bounded(
            each.name, command, path, min(each.limit, end - time.monotonic()), each.environment
        )
        failed |= result["status"] != "ok"
        print(line(result), flush=True)
    return int(failed)


def bounded(name, command, path, limit, environment):
    """What a command has left in the file within its limit of seconds, with how it ended."""
    path = Path(path)
    if limit < LEAST:
        result = {"name": name, "status": "not run: no time left", "figures": {}}
        write(path, result)
        return result
    began, clean = time.monotonic(), False
    with path.with_suffix(".log").open("w") as log:
        try:
            done = subprocess.run(
                command, timeout=limit, stdout=log, stderr=log, env={**os.environ, **environment}
            )
            ended, clean = f"died, status {done.returncode}", done.returncode == 0
        except subprocess.TimeoutExpired:
            ended = f"timed out after {limit:.0f} s"
    result = read(path) if path.exists() else {"name": name, "status": ended, "figures": {}}
    if result["status"] == "running" or (result["status"] == "ok" and not clean):
        result["status"] = ended
    result["process_seconds"] = round(time.monotonic() - began, 1)
    write(path, result)
    return result


def collect(folder, results):
    """One JSON and one archive of what there is so far."""
    folder, results = Path(folder), Path(results)
    facts, steps = {}, []
    with suppress(FileNotFoundError):
        facts = read(folder / "device.json")
    for each in (folder / "steps.tsv").read_text().splitlines():
        name, status, took = each.split("\t")
        steps.append({"step": name, "status": int(status), "seconds": int(took)})
    each = [read(path) for path in sorted((folder / "rows").glob("*.json"))]
    write(results / "gpu.json", {"facts": facts, "steps": steps, "rows": each})
    part = results / "logs.tar.gz.part"
    with tarfile.open(part, "w:gz") as archive:
        for log in sorted([*folder.glob("*.log"), *folder.glob("rows/*.log")]):
            archive.add(log, Path("logs") / log.relative_to(folder))
    part.replace(results / "logs.tar.gz")


def line(result):
    """A row in one line, without the parts that are long."""

    def shown(value):
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} {shown(each)}" for key, each in value.items()) + "}"
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    figures = {key: value for key, value in result["figures"].items() if key != "curves"}
    return f"{result['name']:26s} {result['status']:10s} {shown(figures)[1:-1]}"


def table(results):
    path = Path(results) / "gpu.json"
    everything = read(path)
    for each in everything["steps"]:
        verdict = {0: "ok", 124: "TIMED OUT"}.get(each["status"], f"FAILED ({each['status']})")
        print(f"{each['step']:26s} {verdict:12s} {each['seconds']:4d} s")
    for each in everything["rows"]:
        print(line(each))
    failed = [each["step"] for each in everything["steps"] if each["status"]]
    failed += [each["name"] for each in everything["rows"] if each["status"] != "ok"]
    print(f"FAILED: {', '.join(failed)}" if failed else "all went well", "-", path)
    return int(bool(failed))


COMMANDS = {each.__name__: each for each in (device, small, row, rows, collect, table)}

if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    sys.exit(COMMANDS[command](*arguments))
