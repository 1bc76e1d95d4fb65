"""The command line end to end, in processes of its own."""

import inspect
import json
import os
import pty
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from grokrfm import FCNClassifier, ModularTask, RFMClassifier
from grokrfm.cli.run import RUN
from grokrfm.cli.train_net import TRAIN_NET

COMMAND = [sys.executable, "-m", "grokrfm"]


def run(*arguments, cwd):
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_run_folder(tmp_path):
    done = run("run", "--modulus", "13", "--iterations", "4", "--output", "out", cwd=tmp_path)
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
    again = run("run", "--modulus", "13", "--output", "out", cwd=tmp_path)
    assert again.returncode == 2 and "not empty" in again.stderr


def test_options_reach_the_machine(tmp_path):
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
        cwd=tmp_path,
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


def test_options_reach_the_network(tmp_path):
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
    done = run("train-net", "--operation", "x-y", *options, "--record-every=2", cwd=tmp_path)
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
    "command, others", [(RUN, {"n_classes", "n_tasks"}), (TRAIN_NET, {"n_classes", "seed"})]
)
def test_every_estimator_parameter_is_an_option(command, others):
    assert set(command.options) | others == set(inspect.signature(command.estimator).parameters)


def test_early_stop(tmp_path):
    done = run("run", "--modulus", "11", "--stop-accuracy", "0.0", cwd=tmp_path)
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
def test_bad_input(arguments, message, tmp_path):
    check_refusal("run", arguments, message, tmp_path)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--activation", "tanh"], "activation: expected one of quadratic"),
        (["--hidden-width", "0"], "hidden_width: expected an integer >= 1, got 0"),
        (["--record-every", "0"], "every: expected an integer >= 1, got 0"),
    ],
)
def test_bad_input_of_networks(arguments, message, tmp_path):
    check_refusal("train-net", arguments, message, tmp_path)


def check_refusal(command, arguments, message, tmp_path):
    done = run(command, *arguments, cwd=tmp_path)
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


def test_help_and_info(tmp_path):
    for command in (RUN, TRAIN_NET):
        done = run(command.name, "--help", cwd=tmp_path)
        assert done.returncode == 0
        for name in command.options:
            assert "--" + name.replace("_", "-") in done.stdout
    info = json.loads(run("info", cwd=tmp_path).stdout)
    assert info["compiled"] is True and info["compiler"] and info["blas"]


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--iterations", "60", "--solver", "cg"],
        ["run", "--iterations", "60", "--solver", "cholesky"],
        ["train-net", "--epochs", "60", "--hidden-width", "128", "--record-every", "3"],
    ],
    ids=["cg", "cholesky", "network"],
)
def test_killed_run_resumes_to_the_same_history(command, tmp_path):
    settings = [*command, "--modulus", "31", "--checkpoint-every", "1", "--output"]
    whole = run(*settings, "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    broken = tmp_path / "broken"
    rounds_seen = []
    for rounds in (1, 7, 20, 33):
        arguments = [command[0], "--resume", "broken"] if rounds_seen else [*settings, "broken"]
        process = subprocess.Popen(
            [*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        metrics = broken / "metrics.jsonl"
        deadline = time.monotonic() + 60
        while not (metrics.exists() and metrics.read_text().count("\n") >= rounds):
            assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
        process.kill()
        process.communicate()
        rounds_seen.append(metrics.read_text().count("\n"))
    assert max(rounds_seen) < 61, "the run ended before it could be killed"
    done = run(command[0], "--resume", "broken", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
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
    again = run(command[0], "--resume", "broken", cwd=tmp_path)
    assert again.returncode == 2 and "complete, nothing to resume" in again.stderr


def test_nothing_to_resume(tmp_path):
    done = run("run", "--resume", "nowhere", cwd=tmp_path)
    assert done.returncode == 2 and "no run to resume" in done.stderr


def test_resume_by_the_other_command(tmp_path):
    assert run("run", "--modulus", "5", "--output", "out", cwd=tmp_path).returncode == 0
    (tmp_path / "out" / "features.npz").unlink()
    done = run("train-net", "--resume", "out", cwd=tmp_path)
    assert done.returncode == 2 and "was made by 'grokrfm run'" in done.stderr


def test_a_network_that_diverges_is_an_error_and_keeps_its_epochs(tmp_path):
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
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "the network diverged in epoch 1" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "out" / "metrics.jsonl").read_text().count("\n") == 1
