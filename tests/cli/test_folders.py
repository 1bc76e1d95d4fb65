"""Run folders: nothing is lost, nothing damaged is taken, one process writes at a time."""

import json
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from damage import FILES, Damage, command, history, same
from grokrfm.cli import training
from grokrfm.experiments import new_folder
from grokrfm.files import digest, locked
from interrupts import Interrupts

DATA = Path(__file__).parents[1] / "data"
NO_OPTIONS = ("command", "status", "version", "build", "checksum", "train_pairs", "test_pairs")
SOLVES = ("history/residual", "history/cg_iterations")  # how they went, not what they gave
SMALL = ("run", "--modulus", "5", "--kernel", "gaussian")


def config(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.fixture(scope="module")
def damage(tmp_path_factory):
    return Damage(tmp_path_factory.mktemp("damage"))


@pytest.fixture
def folder(damage, tmp_path):
    """A complete run of four iterations of the Gaussian kernel modulo 5."""
    return shutil.copytree(damage.root / "cholesky", tmp_path / "run")


def test_damaged_folders_are_refused_or_go_on_to_the_same_history(damage):
    became = [damage.trial(seed)[0] for seed in range(40)]
    assert became.count("refused") > 10 and became.count("resumed") > 2


@pytest.mark.parametrize("file", FILES[:2])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"3", b"\xff", b"[" * 10_000, b"PK"])
def test_files_of_another_kind_are_refused_by_name(folder, file, content):
    (folder / file).write_bytes(content)
    status, err = command("run", "--resume", folder, "--iterations", 7)
    assert status == 2 and f"{folder / file}: expected" in err and err.count("\n") == 1


def test_edited_settings_with_a_right_checksum_do_not_mix_two_runs(folder):
    written = config(folder)
    del written["checksum"]
    for name, value in {"seed": 1, "ridge": 0.1, "operation": "x-y", "dtype": "float64"}.items():
        edited = {**written, name: value}
        text = json.dumps({**edited, "checksum": digest(edited)})
        (folder / "config.json").write_text(text)
        status, err = command("run", "--resume", folder, "--iterations", 7)
        assert status == 2 and f"expected the checkpoint of a run with {name}={value}" in err


@pytest.mark.filterwarnings("default")
def test_another_version_is_warned_of(folder):
    written = {**config(folder), "version": "0.0.1"}
    del written["checksum"]
    (folder / "config.json").write_text(json.dumps({**written, "checksum": digest(written)}))
    status, err = command("run", "--resume", folder, "--iterations", 5)
    assert status == 0 and "was made by grokrfm 0.0.1" in err


def test_a_complete_run_is_extended_and_no_other_setting_changes(damage, folder):
    status, err = command("run", "--resume", folder)
    assert status == 2 and "complete, nothing to resume; more --iterations than 4" in err
    for option in (["--seed", 0], ["--modulus", 7], ["--output", "x"], ["--train-count", 9]):
        status, err = command("run", "--resume", folder, *option, "--iterations", 7)
        assert status == 2 and f"{option[0]}: not with --resume" in err
    for iterations, message in ((4, "nothing to resume"), (3, "expected at least the 4 that are")):
        status, err = command("run", "--resume", folder, "--iterations", iterations)
        assert status == 2 and message in err
    assert config(folder)["status"] == "complete"
    assert command("run", "--resume", folder, "--iterations", 7)[0] == 0
    assert same(history(folder), damage.whole["cholesky"])
    assert config(folder)["status"] == "complete" and config(folder)["iterations"] == 7


def test_a_run_that_stopped_goes_on_with_a_higher_accuracy(tmp_path):
    begin = (*SMALL, "--iterations", 4, "--output", tmp_path / "run", "--stop-accuracy")
    assert command(*begin, 0)[0] == 0
    status, err = command("run", "--resume", tmp_path / "run", "--iterations", 7)
    assert status == 2 and "a --stop-accuracy above what it reached" in err
    assert command("run", "--resume", tmp_path / "run", "--stop-accuracy", 1)[0] == 0
    assert len(history(tmp_path / "run")[0]) == 5


def test_a_run_without_checkpoints(tmp_path, monkeypatch):
    path = tmp_path / "run"
    begin = (*SMALL, "--iterations", 3, "--checkpoint-every", 0, "--output", path)
    assert command(*begin)[0] == 0 and not (path / "checkpoint.npz").exists()
    status, err = command("run", "--resume", path, "--iterations", 5)
    assert status == 2 and "complete and has no checkpoint to go on from" in err
    whole = history(path)
    shutil.rmtree(path)
    monkeypatch.setattr(training, "_arrays", lambda plan: 1 / 0)  # killed at its end
    assert command(*begin)[0] == 2 and config(path)["status"] == "running"
    monkeypatch.undo()
    assert command("run", "--resume", path)[0] == 0
    assert same(history(path), whole)


@pytest.mark.parametrize("name", ["run", "train-net"])
def test_a_run_killed_after_its_last_checkpoint_gets_its_outputs(name, tmp_path, monkeypatch):
    path, unit = tmp_path / "run", "--iterations" if name == "run" else "--epochs"
    begin = (name, "--modulus", 5, unit, 3, "--output")
    assert command(*begin, tmp_path / "whole")[0] == 0
    monkeypatch.setattr(training, "_arrays", lambda plan: 1 / 0)
    assert command(*begin, path)[0] == 2
    monkeypatch.undo()
    assert command(name, "--resume", path)[0] == 0
    assert same(history(path), history(tmp_path / "whole"))


def test_a_full_disk_names_the_file_and_loses_nothing(tmp_path):
    path = tmp_path / "run"
    code = (
        "import resource, sys; from grokrfm.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (14_000, -1))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    begin = (*SMALL, "--iterations", 9, "--checkpoint-every", 2, "--output")
    arguments = [str(each) for each in (*begin, path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.endswith(f"File too large: '{path / 'checkpoint.npz'}'\n")
    assert config(path)["status"] == "interrupted" and (path / "checkpoint.npz").exists()
    assert command("run", "--resume", path)[0] == command(*begin, tmp_path / "whole")[0] == 0
    assert same(history(path), history(tmp_path / "whole"))


def test_a_second_interrupt_ends_the_run_at_once(interruptible, tmp_path):
    path = tmp_path / "run"
    options = ["--kernel", "ntk", "--modulus", "29", "--depth", "50", "--output", path]
    process = subprocess.Popen(
        [sys.executable, "-m", "grokrfm", "run", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (path / "metrics.jsonl").exists():
        time.sleep(0.001)
    for _ in range(100):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        if process.poll() is not None:
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT and "Traceback" not in err
    assert config(path)["status"] == "running"
    assert command("run", "--resume", path, "--iterations", 0)[0] == 0


def test_a_folder_without_a_run_takes_the_same_command(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / ".lock").touch()
    (path / "config.json.0123.part").write_text("{")
    assert command(*SMALL, "--iterations", 1, "--output", path)[0] == 0
    assert not list(path.glob("*.part"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").touch()
    status, err = command(*SMALL, "--output", other)
    assert status == 2 and f"{other}: the run folder is there already and not empty" in err
    assert [each.name for each in other.iterdir()] == ["notes.txt"]


def test_one_process_at_a_time(folder, tmp_path):
    with locked(folder):
        for arguments in (("--resume", folder, "--iterations", 7), ("--output", folder)):
            status, err = command("run", *arguments)
            assert status == 2 and ("in use by another process" in err or "not empty" in err)
    before = history(folder)
    resume = [sys.executable, "-m", "grokrfm", "run", "--resume", folder, "--iterations", "2000"]
    both = [subprocess.Popen(resume, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    while all(process.poll() is None for process in both):
        time.sleep(0.01)
    refused, going = sorted(both, key=lambda process: process.poll() is None)
    going.kill()
    going.communicate()
    _, err = refused.communicate()
    assert refused.returncode == 2 and f"in use by another process: '{folder}'" in err
    assert len(before[0]) == 5
    assert command("run", "--resume", folder, "--iterations", 2000, "--stop-accuracy", 0)[0] == 0


def test_simultaneous_runs_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: new_folder(tmp_path / "runs" / "run"), range(80)))
    assert len(made) == 80 and made == set((tmp_path / "runs").iterdir())


def test_different_runs_have_different_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for more in ((), ("--ridge", 0.1), ("--train-fraction", 0.4), ("--label-noise", 0.1)):
        assert command(*SMALL, "--iterations", 1, *more)[0] == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "x+y_p5_gaussian_seed0",
        "x+y_p5_gaussian_seed0_label-noise-0.1",
        "x+y_p5_gaussian_seed0_ridge-0.1",
        "x+y_p5_gaussian_seed0_train-fraction-0.4",
    ]


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert command(*SMALL, "--iterations", 1, "--output", "~/x")[0] == 0
    assert (tmp_path / "x" / "config.json").exists() and not (tmp_path / "~").exists()
    assert command("run", "--resume", "~/x", "--iterations", 2)[0] == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--modulus", 4001], "GB are available; use fewer training pairs"),
        (["--modulus", 10**12], "GB are available; use fewer training pairs"),
        (["--depth", 10**8], "depth: expected an integer from 1 to 100, got 100000000"),
        (["--stop-accuracy", 99], "stop_accuracy: expected a number in [0, 1], got 99.0"),
        (["--stop-accuracy", -1], "stop_accuracy: expected a finite number >= 0, got -1.0"),
        (["--stop-accuracy", "nan"], "stop_accuracy: expected a finite number >= 0, got nan"),
        (["--train-fraction", "nan"], "train_fraction: expected a number in (0, 1), got nan"),
    ],
)
@pytest.mark.parametrize("name", ["run", "train-net"])
def test_refusals_before_any_work(name, arguments, message, tmp_path, monkeypatch):
    if name == "train-net" and arguments[0] == "--depth":
        return
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "ModularTask", None)  # is not reached
    status, err = command(name, *arguments)
    assert status == 2 and err.count("\n") == 1
    assert message.split("; use")[0] in err
    assert not list(tmp_path.iterdir())


def test_a_fraction_or_a_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        command("run", "--train-fraction", 0.4, "--train-count", 9)


def test_no_error_is_empty(monkeypatch, tmp_path):
    for error, message in ((MemoryError, "not enough memory"), (ValueError, "ValueError")):
        monkeypatch.setattr(training, "ModularTask", mock.Mock(side_effect=error))
        status, err = command("run", "--output", tmp_path / "run")
        assert status == 2 and err == f"grokrfm: error: {message}\n"


def test_a_network_without_a_correlation(tmp_path):
    status, err = command(
        *("train-net", "--modulus", 3, "--hidden-width", 1, "--epochs", 2, "--train-count", 2),
        *("--weight-decay", 1000, "--output", tmp_path / "run"),
    )
    assert status == 0, err


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_interrupts_over_the_life_of_a_run(interruptible, tmp_path):
    interrupts = Interrupts(tmp_path)
    interrupts.trial("run", signal.SIGINT, 0.1)
    interrupts.trial("train-net", signal.SIGTERM, 0.6)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_before_the_first_checkpoint(interruptible, number, status, tmp_path):
    path = tmp_path / "run"
    options = ["run", "--modulus", "31", "--iterations", "3000", "--checkpoint-every", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "grokrfm", *options, "--output", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (path / "config.json").exists():
        time.sleep(0.001)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status and err.strip().count("\n") == 0, err
    assert f"go on with: grokrfm run --resume {path}" in out
    assert config(path)["status"] == "interrupted" and (path / "checkpoint.npz").exists()
    done = len((path / "metrics.jsonl").read_text().splitlines())
    assert 1 <= done < 3000
    assert command("run", "--resume", path, "--iterations", done + 2)[0] == 0
    assert config(path)["status"] == "complete"
    assert len(history(path)[0]) == done + 3


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", ["rfm", "sampled", "network"])
def test_a_run_folder_of_version_0_1_0_goes_on(kind, tmp_path):
    """To where a new run of its settings comes in one go."""
    folder = shutil.copytree(DATA / f"run_folder_{kind}", tmp_path / "kept")
    settings, before = config(folder), history(folder)
    name, length = settings["command"], "epochs" if kind == "network" else "iterations"
    given = {key: settings[key] for key in settings if key not in NO_OPTIONS} | {length: 5}
    options = [f"--{key.replace('_', '-')}={value}" for key, value in given.items() if value]
    assert command(name, *options, "--output", tmp_path / "new")[0] == 0
    assert command(name, "--resume", folder, f"--{length}", 5)[0] == 0
    rows, arrays = history(folder)
    assert len(rows) == 6 and rows[:3] == before[0][:3]
    np.testing.assert_array_equal(arrays["history/test_mse"][:4], before[1]["history/test_mse"])
    rtol, atol = (1e-3, 1e-5) if settings["dtype"] == "float32" else (1e-6, 1e-8)
    for key, array in history(tmp_path / "new")[1].items():
        if key not in SOLVES:
            np.testing.assert_allclose(arrays[key], array, rtol, atol, err_msg=key)
