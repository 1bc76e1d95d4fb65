"""The command line end to end: signals, terminals and exit statuses in processes of its own."""

import inspect
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from grokrfm import FCNClassifier, ModularTask, RFMClassifier
from grokrfm.cli.run import RUN
from grokrfm.cli.train_net import TRAIN_NET
from grokrfm.experiments import RunFolder

COMMAND = [sys.executable, "-m", "grokrfm"]


def run_process(*arguments, cwd):
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_run_folder(tmp_path):
    done = run_process(
        "run", "--modulus", "13", "--iterations", "4", "--output", "out", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\niteration") == 5
    assert "test accuracy" in done.stdout and "run folder: out" in done.stdout
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock",
        "checkpoint.npz",
        "config.json",
        "features.npz",
        "metrics.jsonl",
        "run.png",
    ]
    config = json.loads((out / "config.json").read_text())
    assert config["modulus"] == 13 and config["kernel"] == "quadratic"
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[0]["circulant_deviation"] is None
    with np.load(out / "features.npz") as stored:
        assert stored["feature_matrices"].shape == (5, 26, 26)
        np.testing.assert_array_equal(stored["feature_matrix"], stored["feature_matrices"][-1])
    assert (out / "run.png").read_bytes().startswith(b"\x89PNG")
    again = run_process("run", "--modulus", "13", "--output", "out", cwd=tmp_path)
    assert again.returncode == 2 and "not empty" in again.stderr


def test_options_reach_the_machine(run, tmp_path):
    done = run(
        "run",
        "--operation",
        "x*y",
        "--modulus",
        "11",
        "--kernel",
        "gaussian",
        "--dtype",
        "float64",
        "--train-count",
        "70",
        "--seed",
        "3",
        "--label-noise",
        "0.1",
        "--ridge",
        "0.5",
        "--iterations",
        "2",
        "--bandwidth",
        "1.5",
    )
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "runs").iterdir()
    assert folder.name == (
        "xtimesy_p11_gaussian_seed3_label-noise-0.1_bandwidth-1.5_ridge-0.5_dtype-float64"
        "_train-count-70"
    )
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    split = ModularTask("x*y", 11).split(train_count=70, seed=3, label_noise=0.1)
    model = RFMClassifier(
        11, kernel="gaussian", dtype="float64", ridge=0.5, iterations=2, bandwidth=1.5
    )
    model.fit(split.X_train, split.y_train, (split.X_test, split.y_test))
    assert last["test_mse"] == model.history_["test_mse"][-1]


def test_options_reach_the_network(run, tmp_path):
    settings = {
        "modulus": 11,
        "hidden_width": 40,
        "activation": "relu",
        "epochs": 3,
        "batch_size": 7,
        "learning_rate": 0.3,
        "weight_decay": 1e-4,
        "agop_penalty": 1e-3,
        "optimizer": "sgd",
        "initialization_scale": 2.0,
        "dtype": "float64",
        "seed": 5,
    }
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    done = run("train-net", "--operation", "x-y", *options, "--record-every=2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nepoch") == 4
    [folder] = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("x-y_p11_network_relu_seed5_hidden-width-40_batch-size-7")
    assert folder.name.endswith("_dtype-float64_record-every-2")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    split = ModularTask("x-y", 11).split(0.5, 5)
    model = FCNClassifier(**settings)
    model.fit(split.X_train, split.y_train, (split.X_test, split.y_test))
    assert rows[-1]["test_mse"] == model.history_["test_mse"][-1]
    assert ["nfm_correlation" in row for row in rows] == [True, False, True, True]
    with np.load(folder / "features.npz") as stored:
        assert stored["feature_epochs"].tolist() == [0, 2, 3]
        np.testing.assert_array_equal(stored["feature_matrix"], stored["feature_matrices"][-1])
        np.testing.assert_array_equal(stored["first_weights"], model.network_.weights()[0])
    assert (folder / "run.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "command, others", [(RUN, {"n_classes", "n_tasks", "seed"}), (TRAIN_NET, {"n_classes", "seed"})]
)
def test_every_estimator_parameter_is_an_option(command, others):
    assert set(command.options) | others == set(inspect.signature(command.estimator).parameters)


def test_early_stop(run):
    done = run("run", "--modulus", "11", "--stop-accuracy", "0.0")
    assert done.returncode == 0 and done.stdout.count("\niteration") == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--operation", "x^y"], "operation: expected one of"),
        (["--operation", "x/y", "--modulus", "15"], "needs a prime modulus, got 15"),
        (["--train-fraction", "1.5"], "train_fraction: expected a number in (0, 1), got 1.5"),
        (["--kernel", "cubic"], "kernel: expected one of quadratic"),
        (["--solver", "qr"], "solver: expected one of"),
        (["--backend", "cuda"], "backend: 'cuda'"),
        (["--ridge", "-1"], "ridge: expected a finite number >= 0, got -1.0"),
        (["--modulus", "many"], "invalid int value"),
        (["--output", "/proc/nothing/here"], "/proc/nothing"),
    ],
)
def test_bad_input(arguments, message, run, tmp_path):
    check_refusal(run("run", *arguments), message, tmp_path)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--activation", "tanh"], "activation: expected one of quadratic"),
        (["--hidden-width", "0"], "hidden_width: expected an integer >= 1, got 0"),
        (["--record-every", "0"], "every: expected an integer >= 1, got 0"),
    ],
)
def test_bad_input_of_networks(arguments, message, run, tmp_path):
    check_refusal(run("train-net", *arguments), message, tmp_path)


def check_refusal(done, message, tmp_path):
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not any(path.is_dir() for path in tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    "command", [["run", "--iterations", "100000"], ["train-net", "--epochs", "100000"]]
)
def test_interrupt_keeps_completed_rounds(interruptible, command, tmp_path):
    process = subprocess.Popen(
        [*COMMAND, *command, "--modulus", "31", "--output", "out"],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    metrics = tmp_path / "out" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") > 3):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in stderr
    assert "interrupted; completed" in stdout
    rounds = metrics.read_text().count("\n")
    with np.load(tmp_path / "out" / "features.npz") as stored:
        assert abs(len(stored["feature_matrices"]) - rounds) <= 1
    assert (tmp_path / "out" / "run.png").exists()


def test_terminal_gets_one_live_line(tmp_path):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "run", "--modulus", "7", "--iterations", "3"],
        cwd=tmp_path,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    text = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:
            break
        if not chunk:
            break
        text += chunk
    assert process.wait(timeout=60) == 0
    assert text.count(b"\r\x1b[K") == 4
    assert text.count(b"\niteration") == 0


def test_help_and_info(run):
    for command in (RUN, TRAIN_NET):
        done = run(command.name, "--help")
        assert done.returncode == 0
        for name in command.options:
            assert "--" + name.replace("_", "-") in done.stdout
        assert "number of residues (default: 61)" in " ".join(done.stdout.split())
    info = json.loads(run("info").stdout)
    assert info["compiled"] is True and info["compiler"] and info["blas"]


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--iterations", "30", "--solver", "cg"],
        ["run", "--iterations", "30", "--solver", "cholesky"],
        ["train-net", "--epochs", "30", "--hidden-width", "128", "--record-every", "3"],
    ],
    ids=["cg", "cholesky", "network"],
)
def test_killed_run_resumes_to_the_same_history(command, run, tmp_path):
    settings = [*command, "--modulus", "31", "--checkpoint-every", "1", "--output"]
    whole = run(*settings, "whole")
    assert whole.returncode == 0, whole.stderr
    broken = tmp_path / "broken"
    rounds_seen = []
    for rounds in (1, 10):
        arguments = [command[0], "--resume", "broken"] if rounds_seen else [*settings, "broken"]
        process = subprocess.Popen(
            [*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        metrics = broken / "metrics.jsonl"
        deadline = time.monotonic() + 60
        while not (metrics.exists() and metrics.read_text().count("\n") >= rounds):
            assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
            time.sleep(0.002)
        process.kill()
        process.communicate()
        rounds_seen.append(metrics.read_text().count("\n"))
    assert max(rounds_seen) < 31, "the run ended before it could be killed"
    done = run(command[0], "--resume", "broken")
    assert done.returncode == 0, done.stderr
    # From its checkpoint on, which may miss the last round that was written.
    again = len(re.findall(r"^(?:iteration|epoch) ", done.stdout, re.MULTILINE))
    assert 31 - rounds_seen[-1] <= again <= 32 - rounds_seen[-1]
    histories = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "broken")
    ]
    for row, again in zip(*histories, strict=True):
        assert {**row, "seconds": 0} == {**again, "seconds": 0}
    with np.load(tmp_path / "whole" / "features.npz") as a, np.load(broken / "features.npz") as b:
        assert a["history/seconds"].shape == b["history/seconds"].shape
        for name in set(a.files) - {"history/seconds"}:
            np.testing.assert_array_equal(a[name], b[name])
    again = run(command[0], "--resume", "broken")
    assert again.returncode == 2 and "complete, nothing to resume" in again.stderr


@pytest.mark.parametrize(
    "every, expected",
    [(0, []), (1, [0, 1, 2, 3, 4, 5, 6]), (2, [1, 3, 5, 6]), (5, [4, 6]), (7, [6])],
)
def test_checkpoints_after_so_many_rounds(every, expected, run, monkeypatch):
    """And after the last one: a complete run can be extended."""
    stored = []
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # no picture
    monkeypatch.setattr(
        RunFolder,
        "store_checkpoint",
        lambda self, current: stored.append(int(current.record["iteration"])),
    )
    run("run", "--modulus", "5", "--iterations", "6", "--checkpoint-every", str(every))
    assert stored == expected


def test_every_run_has_a_folder_of_its_own(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    for name in ("x+y_p5_quadratic_seed0", "x+y_p5_quadratic_seed0-2"):
        done = run("run", "--modulus", "5", "--iterations", "1")
        assert done.returncode == 0 and "no picture: matplotlib is missing" in done.stdout
        assert done.stdout.endswith(f"run folder: runs/{name}\n")
        assert (tmp_path / "runs" / name / "features.npz").exists()
        assert not (tmp_path / "runs" / name / "run.png").exists()


def test_nothing_to_resume(tmp_path):
    done = run_process("run", "--resume", "nowhere", cwd=tmp_path)
    assert done.returncode == 2 and "no run to resume" in done.stderr


def test_resume_by_the_other_command(run, tmp_path):
    assert run("run", "--modulus", "5", "--output", "out").returncode == 0
    (tmp_path / "out" / "features.npz").unlink()
    done = run("train-net", "--resume", "out")
    assert done.returncode == 2 and "was made by 'grokrfm run'" in done.stderr


def test_a_network_that_diverges_is_an_error_and_keeps_its_epochs(run, tmp_path):
    done = run(
        "train-net",
        "--optimizer",
        "sgd",
        "--learning-rate",
        "1e30",
        "--modulus",
        "7",
        "--output",
        "out",
    )
    assert done.returncode == 2
    assert "the network diverged in epoch 1" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "out" / "metrics.jsonl").read_text().count("\n") == 1
