"""`grokrfm sweep`: values and ranges, the table, the picture, going on."""

import csv

import pytest
from grokrfm.cli import main

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
