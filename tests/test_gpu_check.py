"""What bench/gpu_check.sh runs on a GPU, as far as it goes without one: small, and on stand-ins."""

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import gpu
import gpu_rows
import pytest
from grokrfm.operations import backends

ROOT = Path(__file__).parents[1]

# Each function of a row: its arguments here, and some of what it must tell.
SMALL = {
    "operations_agree": ({"p": 3}, {"agop float32", "matrix_power float64"}),
    "runs_agree": ({"p": 7}, {"cg", "drawn classes", "together"}),
    "networks_agree": ({"p": 5, "than": "numpy"}, {"weights"}),
    "products": ({"sizes": ((5, 3), (7, 1))}, {"p=5 runs=3", "p=7", "large_tflops"}),
    "square_roots": (
        {"sizes": ((1, 6), (3, 6))},
        {"1 of d=6 by eigenvectors", "3 of d=6 by Newton-Schulz"},
    ),
    "coarse_matrices": ({"sizes": ((3, 6),)}, {"3 of d=6"}),
    "run": ({"p": 7, "iterations": 2, "times": 2}, {"rounds_seconds", "gather_seconds", "curves"}),
    "many_runs": ({"p": 7, "count": 3, "iterations": 2}, {"runs_per_second", "other_seconds"}),
    "tf32_run": ({"p": 7, "iterations": 2}, {"largest_difference_of_accuracy"}),
    "cg_step": ({"p": 7}, {"tflops", "share_of_large_product"}),
    "stages": ({"p": 7}, {"shared_seconds", "solve_seconds", "power_seconds", "gather_seconds"}),
    "dense": ({"p": 5}, {"kernel_matrix_seconds", "agop_tflops"}),
}


def function(row):
    return getattr(row.call, "func", row.call).__name__


def test_every_row_is_tried_here():
    assert {function(row) for row in gpu_rows.ROWS} == set(SMALL)
    assert len({row.name for row in gpu_rows.ROWS}) == len(gpu_rows.ROWS)


@pytest.mark.parametrize("name", SMALL)
def test_a_row_on_the_host_build(name, emulated_backend, tmp_path):
    arguments, told = SMALL[name]
    path = tmp_path / "row.json"
    status = gpu.record(name, lambda note: getattr(gpu_rows, name)(note, **arguments), path)
    result = json.loads(path.read_text())
    assert status == 0 and result["status"] == "ok", result
    assert told <= set(result["figures"])
    assert name in gpu.line(result) and "curves" not in gpu.line(result)


def test_sampled_rows(tmp_path):
    """On the array source, which takes them whatever the build."""
    noted = {}
    kinds = gpu_rows.SAMPLED_KINDS
    gpu_rows.runs_agree(lambda **more: noted.update(more), backend="numpy", p=7, kinds=kinds)
    assert set(noted) == set(kinds)
    sampled = {**gpu_rows.SAMPLED, "agop_classes": 3}
    gpu_rows.run(lambda **more: noted.update(more), 7, "numpy", iterations=1, **sampled)
    assert noted["rounds"] == 2 and noted["seconds"] >= noted["rounds_seconds"]


def test_what_a_sanitizer_sees(emulated_backend, capsys):
    gpu.small()
    assert "every operation ran" in capsys.readouterr().out


def test_rows_have_limits_and_keep_what_they_noted(tmp_path, monkeypatch):
    path = tmp_path / "row.json"

    def result_of(code, limit):
        path.unlink(missing_ok=True)
        program = f"import sys; sys.path.append({str(ROOT / 'bench')!r})\n"
        program += "import atexit, gpu, os, time\n"
        program += f"def call(note):\n    note(rounds=3)\n    {code}\n"
        program += f"sys.exit(gpu.record('some', call, {str(path)!r}))"
        return gpu.bounded("some", [sys.executable, "-c", program], path, limit, {"SET": "1"})

    assert result_of("pass", 2)["status"] == "not run: no time left"
    monkeypatch.setattr(gpu, "LEAST", 0)
    for code, limit, status in (
        ("note(more=os.environ['SET'])", 60, "ok"),
        ("raise ValueError('of its own')", 60, "failed: ValueError: of its own"),
        ("os._exit(11)", 60, "died, status 11"),
        ("os._exit(0)", 60, "died, status 0"),
        ("time.sleep(60)", 3, "timed out after 3 s"),
        ("atexit.register(os.kill, os.getpid(), 9)", 60, "died, status -9"),
        ("atexit.register(time.sleep, 60)", 3, "timed out after 3 s"),
    ):
        result = result_of(code, limit)
        assert result["status"] == status and result["figures"]["rounds"] == 3
        assert json.loads(path.read_text()) == result
    assert result_of("pass", 0)["figures"] in ({}, {"rounds": 3})  # no time to begin


def test_rows_are_processes_that_end_up_in_one_json(tmp_path, monkeypatch, capsys):
    names = {row.name: row for row in gpu_rows.ROWS}
    chosen = [names["cpp: run p=61"], replace(names["run p=199"], limit=1)]
    monkeypatch.setattr(gpu_rows, "ROWS", chosen)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["tests", "bench", *sys.path]))
    monkeypatch.chdir(ROOT)
    assert gpu.rows(tmp_path, 100) == 1
    (tmp_path / "steps.tsv").write_text("build\t0\t7\nrows\t1\t9\n")
    results = tmp_path / "results"
    results.mkdir()
    gpu.collect(tmp_path, results)
    everything = json.loads((results / "gpu.json").read_text())
    assert [row["status"] for row in everything["rows"]] == ["ok", "not run: no time left"]
    assert everything["rows"][0]["figures"]["rounds"] == 31
    with tarfile.open(results / "logs.tar.gz") as archive:
        assert archive.getnames() == ["logs/rows/00.log"]
    assert sorted(path.name for path in results.iterdir()) == ["gpu.json", "logs.tar.gz"]
    capsys.readouterr()
    assert gpu.table(results) == 1
    assert "FAILED: rows, run p=199" in capsys.readouterr().out


@pytest.mark.skipif(backends.obstacle("cuda") is None, reason="there is a GPU")
def test_without_a_gpu_the_check_fails_and_says_why(tmp_path):
    results = tmp_path / "results"
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "CUDACXX": "/nowhere",  # no long build where there is a compiler
        "OUT": str(results),
    }
    command = ["bash", "bench/gpu_check.sh"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert sorted(path.name for path in results.iterdir()) == ["gpu.json", "logs.tar.gz"]
    everything = json.loads((results / "gpu.json").read_text())
    assert everything["steps"][-1]["step"] == "device" and everything["steps"][-1]["status"] != 0
    assert everything["rows"] == []
    with tarfile.open(results / "logs.tar.gz") as archive:
        log = archive.extractfile("logs/device.log").read().decode()
    assert "backend: 'cuda' cannot be had" in log
    assert "FAILED" in done.stdout.splitlines()[-1] and "device" in done.stdout.splitlines()[-1]
