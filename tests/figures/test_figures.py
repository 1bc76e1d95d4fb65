import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from grokrfm import figures, groups
from grokrfm.experiments import NetworkRun, ResultStore, RFMRun
from grokrfm.figures import FIGURES, Settings, choose_figures, make_figures
from grokrfm.figures.make import settings_of
from grokrfm.files import locked

matplotlib.use("Agg")


def shrunk(run):
    """The same kind of run on a small modulus, in a fraction of a second."""
    if isinstance(run, RFMRun):
        fraction = min(max(run.train_fraction, 0.3), 1 - 1 / 7)
        return replace(run, modulus=7, train_fraction=fraction)
    return replace(run, modulus=7, hidden_width=8, epochs=3)


@contextmanager
def shrunk_runs():
    """Within it every run of an RFM is the shrunk one."""
    run = RFMRun.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RFMRun, "run", lambda self: run(shrunk(self)))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Some figures with two seeds, from shrunk runs."""
    path = tmp_path_factory.mktemp("figures")
    with shrunk_runs():
        make_figures(
            path, ["1", "2", "3", "A1", "A2", "sharpening"], Settings(quick=True, n_seeds=2)
        )
    return path


def test_pictures_numbers_and_report(folder):
    report = json.loads((folder / "figures.json").read_text())
    for name in ("1", "2", "3", "A1", "A2", "sharpening"):
        assert (folder / f"figure_{name}.png").read_bytes().startswith(b"\x89PNG")
        assert report[name]["seeds"] == 2 and report[name]["quick"] is True
        with np.load(folder / f"figure_{name}.npz", allow_pickle=False) as numbers:
            assert numbers.files and all(numbers[each].size for each in numbers.files)
    assert report["2"]["settings"] == {
        "RFMRun": {
            "operation": "x+y, x-y, x*y, x/y",
            "seed": "0, 1",
            "keep": "(1, 5, 10, 15, 30)",
        }
    }
    with np.load(folder / "figure_2.npz") as numbers:
        assert list(numbers["labels"]) == ["x+y", "x-y", "x*y", "x/y"]
        assert numbers["test_accuracy"].shape == (4, 2, 31)
        for i, operation in enumerate(numbers["labels"]):
            for seed in range(2):
                expected = shrunk(RFMRun(operation=str(operation), seed=seed)).run()
                np.testing.assert_array_equal(
                    numbers["test_accuracy"][i, seed], expected["test_accuracy"]
                )
    # Figures 2, 3, A1, A2 and one modulus of the last share their runs.
    assert report["total"] == {"figures": 6, "runs": 14, "seconds": report["total"]["seconds"]}
    assert len(list((folder / "runs").glob("*.npz"))) == 14


def test_settings_tell_kinds_defaults_and_many_values_apart():
    runs = [
        *(RFMRun(modulus=7, train_fraction=k / 20) for k in range(1, 15)),
        RFMRun(table=groups.abelian(6), operation="table", agop_power=0.25),
        NetworkRun(epochs=3),
    ]
    assert settings_of(runs) == {
        "RFMRun": {
            "operation": "x+y, table",
            "modulus": "6, 7",
            "table": "None, table of 6",
            "train_fraction": "14 from 0.05 to 0.7",
            "agop_power": "0.25, 0.5",
        },
        "NetworkRun": {"epochs": "3"},
    }


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
    before = json.loads((folder / "figures.json").read_text())
    make_figures(folder, ["A1"], Settings(quick=True, n_seeds=2))
    after = json.loads((folder / "figures.json").read_text())
    assert after["A1"] == before["A1"] and after["A2"] == before["A2"]


@pytest.fixture
def small_groups(monkeypatch):
    """Groups of order 6 and 12 in the figures of groups, nothing from before."""
    from grokrfm.figures import groups as figure

    small = {"Z60": groups.abelian(6), "A5": groups.alternating(4), "S3 × Z10": groups.symmetric(3)}
    tables = {name: lambda table=table: table for name, table in small.items()}
    monkeypatch.setattr(figure, "GROUPS", tables)
    figure.table_of.cache_clear()
    yield
    figure.table_of.cache_clear()


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
@pytest.mark.filterwarnings("ignore::grokrfm.SolverWarning")
def test_every_figure_is_drawn_from_its_runs(figure, small_groups):
    from matplotlib import pyplot as plt

    grid = figure.series(Settings(quick=True, n_seeds=2))
    done = {}
    for run in (run for over_seeds in grid.values() for run in over_seeds):
        small = run if run.table else shrunk(run)
        done[small] = done.get(small) or small.run()
        done[run] = done[small]
    data = figure.collect(grid, done)
    assert all(np.asarray(values).dtype != object for values in data.values())
    axes = np.ravel([figure.plot(data)])
    assert all(ax.get_xlabel() for ax in axes)
    assert all(ax.lines or ax.images for ax in axes)
    plt.close("all")


def test_a_result_depends_on_every_field(tmp_path):
    store = ResultStore(tmp_path)
    runs = [RFMRun(modulus=7), RFMRun(modulus=7, seed=1), RFMRun(operation="x-y", modulus=7)]
    assert len({store.path(run) for run in runs}) == 3
    short = RFMRun(modulus=7, iterations=1)
    first, again = store.result(short), store.result(short)
    assert first["run_seconds"] > 0
    for key, values in first.items():
        np.testing.assert_array_equal(values, again[key])


def test_a_damaged_result_is_made_anew(tmp_path):
    store = ResultStore(tmp_path)
    short, other = RFMRun(modulus=7, iterations=1), RFMRun(operation="x-y", modulus=7, iterations=1)
    first = store.result(short)
    whole = store.path(short).read_bytes()
    store.result(other)
    swapped = store.path(other).read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", b"PK", whole[:-1], swapped]
    damaged += [whole[: rng.integers(len(whole))] for _ in range(10)]
    for at in rng.integers(len(whole), size=30):
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << rng.integers(8)]) + whole[at + 1 :])
    for content in damaged:
        store.path(short).write_bytes(content)
        with pytest.warns(UserWarning, match=f"{store.path(short)}: .*; made anew"):
            again = store.result(short)
        for key in first.keys() - {"run_seconds", "seconds"}:
            np.testing.assert_array_equal(first[key], again[key])
    store.result(short)  # without a warning


def test_one_process_makes_figures_in_a_folder(folder, run):
    again = ("figures", "--only", "A1", "--quick", "--output", str(folder))
    with locked(folder):
        done = run(*again)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"in use by another process: '{folder}'" in done.stderr
    assert run(*again).returncode == 0


def test_figures_leave_the_backend_alone(folder):
    code = (
        "import matplotlib, sys; matplotlib.rcParams['backend'] = 'pdf'\n"
        "from grokrfm import ModularTask, RFMClassifier, figures\n"
        "figures.make_figures(sys.argv[1], ['A1'], figures.Settings(quick=True, n_seeds=2))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert matplotlib.rcParams['backend'] == 'pdf'\n"
        "split = ModularTask('x+y', 5).split()\n"
        "model = RFMClassifier(5, iterations=1).fit(split)\n"
        "figures.plot_run(model.history_, model.feature_matrix_, 'x+y', 'to be seen')\n"
        "assert sys.modules['matplotlib.pyplot'].get_fignums()\n"
        "assert matplotlib.get_backend() == 'pdf'"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "run",
    [
        RFMRun(modulus=7, kernel="gaussian", iterations=2, enforce=True),
        RFMRun(operation="x*y", modulus=7, iterations=0, random_circulant=True),
        RFMRun(
            operation=("x+y", "x^2+y^2"),
            modulus=5,
            train_fraction=0.8,
            kernel="gaussian",
            iterations=1,
        ),
    ],
)
def test_kinds_of_runs(run):
    result = run.run()
    assert len(result["test_accuracy"]) == run.iterations + 1
    assert run.cost > 0
    assert ("enforced_test_accuracy" in result) == run.enforce
    assert ("test_accuracy_task_1" in result) == (isinstance(run.operation, tuple))


def test_every_figure_has_its_own_name_and_grid():
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    for figure in FIGURES:
        for quick in (True, False):
            grid = figure.series(Settings(quick, 2))
            each = {"A8": 1, "plateau": 2 if quick else 6}.get(figure.name, 2)
            assert all(len(runs) == each for runs in grid.values())
    assert [figure.name for figure in choose_figures(["A1", "2"])] == ["2", "A1"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--only", "9"], "figures: expected names among 1, 2, 3, 4, A1"),
        (["--output", "/proc/nothing"], "/proc/nothing"),
        (["--seeds", "0"], "seeds: expected an integer >= 1, got 0"),
    ],
)
def test_bad_input(arguments, message, run, tmp_path):
    done = run("figures", *arguments)
    assert done.returncode == 2 and message in done.stderr
    assert not list(tmp_path.iterdir())


def test_interrupt_keeps_what_is_done(interruptible, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "grokrfm", "figures", "--only", "A10", "--output", "out"],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "figures.json").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in stderr
    assert "interrupted; what was finished is kept" in stderr


def test_settings_and_report_are_checked(tmp_path):
    with pytest.raises(ValueError, match="n_seeds: expected an integer >= 1, got 0"):
        Settings(n_seeds=0)
    with pytest.raises(ValueError, match="got 12"):
        choose_figures("12")
    (tmp_path / "figures.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"figures.json: not a report of figures"):
        make_figures(tmp_path, ["1"])


def test_command_line(run, tmp_path):
    with shrunk_runs():
        done = run("figures", "--only", "sharpening", "--quick", "--output", "out")
    assert done.returncode == 0, done.stderr
    assert "1 figure in" in done.stdout and "figure sharpening" in done.stderr
    assert (tmp_path / "out" / "figure_sharpening.png").exists()
    report = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert report["sharpening"]["seeds"] == 1 and report["sharpening"]["quick"] is True
