import json
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from grokrfm import figures
from grokrfm.experiments import ResultStore, RFMRun
from grokrfm.figures import FIGURES, Settings, choose_figures, make_figures

matplotlib.use("Agg")


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "grokrfm", "figures", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The figures that take no more than a few seconds, with two seeds."""
    path = tmp_path_factory.mktemp("figures")
    make_figures(path, ["1", "2", "3", "A1", "A2", "sharpening"], Settings(quick=True, n_seeds=2))
    return path


def test_pictures_numbers_and_report(folder):
    report = json.loads((folder / "figures.json").read_text())
    for name in ("1", "2", "3", "A1", "A2", "sharpening"):
        assert (folder / f"figure_{name}.png").read_bytes().startswith(b"\x89PNG")
        assert report[name]["seeds"] == 2 and report[name]["quick"] is True
        with np.load(folder / f"figure_{name}.npz", allow_pickle=False) as numbers:
            assert "labels" in numbers.files
    with np.load(folder / "figure_2.npz") as numbers:
        assert list(numbers["labels"]) == ["x+y", "x-y", "x*y", "x/y"]
        assert numbers["test_accuracy"].shape == (4, 2, 31)
        assert (numbers["test_accuracy"][:, :, 30] > 0.99).all()
    # Figures 2, 3, A1 and A2 share their runs.
    assert report["2"]["runs_done_now"] == 8
    assert report["3"]["runs_done_now"] == report["A1"]["runs_done_now"] == 0


def test_stored_numbers_can_be_drawn_again(folder):
    from matplotlib import pyplot as plt

    axes = plt.subplots(1, 3)[1]
    with np.load(folder / "figure_2.npz") as numbers:
        drawn = figures.plot_progress_measures(numbers, axes)
    assert drawn is axes
    assert [len(ax.lines) for ax in axes] == [4, 4, 4]
    assert axes[0].get_xlabel() == "iteration" and axes[0].get_ylabel() == "test accuracy (%)"
    plt.close("all")


def test_results_are_used_again(folder, monkeypatch):
    monkeypatch.setattr(RFMRun, "run", lambda self: pytest.fail("ran again"))
    make_figures(folder, ["A1"], Settings(quick=True, n_seeds=2))


def test_a_result_depends_on_every_field(tmp_path):
    store = ResultStore(tmp_path)
    runs = [RFMRun(("x+y",), 7), RFMRun(("x+y",), 7, seed=1), RFMRun(("x-y",), 7)]
    assert len({store.path(run) for run in runs}) == 3
    short = RFMRun(("x+y",), 7, iterations=1)
    costs = []
    first = store.results([short, short], costs.append)[short]
    again = store.results([short], costs.append)[short]
    assert costs == [short.cost]
    for key, values in first.items():
        np.testing.assert_array_equal(values, again[key])


@pytest.mark.parametrize(
    "run",
    [
        RFMRun(("x+y",), 7, kernel="gaussian", iterations=2, enforce=True),
        RFMRun(("x*y",), 7, iterations=0, start="random_circulant"),
        RFMRun(("x+y", "x^2+y^2"), 5, 0.8, kernel="gaussian", iterations=1),
    ],
)
def test_kinds_of_runs(run):
    result = run.run()
    assert len(result["test_accuracy"]) == run.iterations + 1
    assert run.cost > 0
    assert ("enforced_test_accuracy" in result) == run.enforce
    assert ("test_accuracy_task_1" in result) == (len(run.operations) > 1)


def test_every_figure_has_its_own_name_and_grid():
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    for figure in FIGURES:
        for quick in (True, False):
            grid = figure.grid(Settings(quick, 2))
            assert all(len(runs) == 2 for runs in grid.values())
    assert [figure.name for figure in choose_figures(["A1", "2"])] == ["2", "A1"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--only", "9"], "figures: expected names among 1, 2, 3, 4, A1"),
        (["--output", "/proc/nothing"], "/proc/nothing"),
        (["--seeds", "0"], "seeds: expected an integer >= 1, got 0"),
    ],
)
def test_bad_input(arguments, message, tmp_path):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path):
    done = command("--only", "sharpening", "--quick", "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 figure in" in done.stdout and "figure sharpening" in done.stderr
    assert (tmp_path / "out" / "figure_sharpening.png").exists()
