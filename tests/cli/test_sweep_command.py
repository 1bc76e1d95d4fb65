"""`grokrfm sweep`: values and ranges, the table, the picture, going on."""

import csv
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from grokrfm.cli import main
from grokrfm.cli import sweep as command

SMALL = ["--modulus", "5", "--iterations", "1"]


def swept(folder, *options):
    status = main(["sweep", *SMALL, "--output", str(folder), *options])
    with (folder / "table.csv").open() as file:
        return status, list(csv.DictReader(file))


def test_values_and_ranges(tmp_path, capsys):
    folder = tmp_path / "out"
    options = ["--operation", "x+y", "x*y", "--train-fraction", ".4:.6:.1", "--seed", "0:2", "5"]
    status, rows = swept(folder, *options)
    assert status == 0 and "18 of 18 runs done" in capsys.readouterr().out
    assert [row["train_fraction"] for row in rows[::3]] == ["0.4", "0.5", "0.6"] * 2
    assert [row["seed"] for row in rows[:3]] == ["0", "1", "5"]
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    files = {path: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
    assert main(["sweep", *SMALL, *options, "--output", str(folder), "--dry-run"]) == 0
    assert "all 18 runs are done" in capsys.readouterr().out
    assert swept(folder, *options)[1] == rows
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.npz")} == files


def test_critical(tmp_path, capsys):
    options = ["--critical", "--resolution", "0.3", "--modulus", "5", "7", "--seed", "0"]
    status, rows = swept(tmp_path / "out", *options)
    assert status == 0 and "2 of 2 searches done" in capsys.readouterr().out
    assert [row["modulus"] for row in rows] == ["5", "7"]
    assert all(float(row["upper"]) - float(row["lower"]) <= 0.3 for row in rows)


def test_dry_run(tmp_path, capsys):
    arguments = ["sweep", "--modulus", "5:8", "--iterations", "1", "--dry-run"]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "3 runs, 0 of them done; the others about" in said and "MB" in said
    assert not list(tmp_path.iterdir())


def test_what_a_dry_run_expects(monkeypatch):
    """Between two runs tried, and beyond one that is not: 1 s for one rate, 8 s for another."""
    seconds = {1.0: 1.0, 8.0: 8.0**0.5, 4.0: 2.0**0.5, 64.0: 512.0}
    monkeypatch.setattr(command, "_trial", lambda run: seconds[run.cost])
    runs = [SimpleNamespace(cost=cost) for cost in (8.0, 1.0, 4.0)]
    assert command._seconds(runs) == pytest.approx(8**0.5 + 1 + 2)
    monkeypatch.setattr(command, "_TRIED", 10.0)
    assert command._seconds([*runs, SimpleNamespace(cost=64.0)]) == pytest.approx(
        8**0.5 * (1 + 8) + 1 + 2
    )


def test_ctrl_c_stops_the_workers_and_keeps_what_is_done(interruptible, tmp_path, capsys):
    options = ["sweep", "--modulus", "23", "--iterations", "60", "--seed", "0:200"]
    process = subprocess.Popen(
        [sys.executable, "-m", "grokrfm", *options, "--workers", "2", "--output", "out"],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    folder, deadline = tmp_path / "out", time.monotonic() + 60
    while len(list(folder.glob("*.npz"))) < 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    try:
        stderr = process.communicate(timeout=60)[1]
        assert process.returncode == 130 and "interrupted; what was finished is kept" in stderr
        assert "Traceback" not in stderr and "Warning" not in stderr
        with pytest.raises(ProcessLookupError):  # the last ends a moment after its parent
            while time.monotonic() < deadline:
                os.killpg(process.pid, 0)
                time.sleep(0.02)
    finally:
        process.kill()
    done = len(list(folder.glob("*.npz")))
    assert 3 <= done < 200 and not list(folder.glob("*.part"))
    assert main([*options, "--dry-run", "--output", str(folder)]) == 0
    assert f"200 runs, {done} of them done" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, message",
    [
        (["--operation", "x%y"], "operation: expected one of"),
        (["--workers", "0"], "executor: expected an integer >= 1, got 0"),
        (["--critical", "--train-fraction", ".5"], "over: expected fields other than"),
    ],
)
def test_bad_input(options, message, tmp_path, capsys):
    assert main(["sweep", "--output", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options", [["--seed", "a"], ["--label-noise", "0:1:0"], ["--train-fraction", ".1:.2"]]
)
def test_bad_values(options, capsys):
    with pytest.raises(SystemExit):
        main(["sweep", *options])
    assert "invalid value or range value" in capsys.readouterr().err
