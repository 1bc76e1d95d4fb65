"""What the command line says while a run goes on, and where it writes."""

from types import SimpleNamespace

import numpy as np
import pytest
from grokrfm.cli import progress, training
from grokrfm.cli.progress import Progress, duration
from grokrfm.cli.run import RUN
from grokrfm.experiments import new_folder


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0.0, "0 s"),
        (0.4, "0 s"),
        (5.6, "6 s"),
        (99.4, "99 s"),
        (100, "1:40 min"),
        (605.9, "10:05 min"),
        (5999, "99:59 min"),
        (6000, "1:40 h"),
        (100_000, "27:46 h"),
    ],
)
def test_duration(seconds, words):
    assert duration(seconds) == words


def test_time_left_is_that_of_the_last_three_rounds(monkeypatch, capsys):
    """Rounds of 10, 1, 2, 3, 4 and 5 seconds, of ten and a first."""
    clock = iter([0, 10, 11, 13, 16, 20, 25])
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    line = Progress(RUN.unit, 10, RUN.columns)
    record = {
        "train_accuracy": 1.0,
        "test_accuracy": 0.25,
        "circulant_deviation": 0.5,
        "residual": 1e-6,
        "seconds": 1.5,
    }
    for t in range(6):
        line(SimpleNamespace(record={"iteration": float(t), **record}))
    line.end()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "iteration   0/10  train 100.00 %  test  25.00 %  deviation 0.500  residual 1e-06"
        "  1.50 s  1:40 min left"
    )
    left = [line.removesuffix(" left").split("  ")[-1] for line in lines]
    # (10 - t) times the mean of the last three
    assert left == ["1:40 min", "50 s", "35 s", "14 s", "18 s", "20 s"]
    assert line.rounds == 6


@pytest.mark.parametrize(
    "accuracy, said",
    [
        ([0.0, 0.5, 0.99, 1.0], "100.00 % after 3 iterations, reached 99 % at iteration 2; 2.50 s"),
        ([0.0, 0.989], "98.90 % after 1 iterations, 99 % was not reached; 2.50 s"),
    ],
)
def test_summary(accuracy, said):
    history = {
        "iteration": np.arange(len(accuracy)),
        "test_accuracy": np.array(accuracy),
        "residual": np.array([1e-7, 3e-6]),
    }
    model = SimpleNamespace(history_=history, solver_="cg")
    plan = SimpleNamespace(command=RUN, model=model)
    assert training._summary(plan, 2.5) == (
        f"test accuracy {said}, solver cg, largest relative residual 3.0e-06"
    )


def test_a_new_folder_has_a_name_of_its_own(tmp_path):
    base = tmp_path / "runs" / "x+y"
    for name in ("x+y", "x+y-2", "x+y-3"):
        path = new_folder(base)
        assert path == base.with_name(name) and path.is_dir()
