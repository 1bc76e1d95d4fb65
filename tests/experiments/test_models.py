"""Fitted models in their users' hands: pickles, copies, files, pools, run folders."""

import copy
import logging
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cloudpickle
import grokrfm
import joblib
import numpy as np
import pytest
from grokrfm import (
    FCNClassifier,
    ModularTask,
    NetworkMeasures,
    NotFittedError,
    RFMClassifier,
    RFMRun,
    sweep,
)
from grokrfm.cli import main
from grokrfm.files import read_arrays, write_arrays
from grokrfm.operations import backends

DATA = Path(__file__).parents[1] / "data"
SPLIT = ModularTask("x*y", 5).split(0.6, 0)
NAMES = ("rfm", "network")


def fitted(name, **parameters):
    if name == "rfm":
        model = RFMClassifier(5, **{"iterations": 2, "kernel": "gaussian", **parameters})
        options = {}
    else:
        model = FCNClassifier(5, **{"hidden_width": 8, "epochs": 2, **parameters})
        options = {
            "callbacks": [NetworkMeasures("x*y", 2)],
            "input_transform": np.diag(np.linspace(1, 2, 10)),
        }
    return model.fit(SPLIT.X_train, SPLIT.y_train, eval_set=(SPLIT.X_test, SPLIT.y_test), **options)


def assert_same(model, other):
    assert type(model) is type(other)
    assert model.get_params() == other.get_params()
    assert set(model.history_) == set(other.history_)
    for key, column in model.history_.items():
        np.testing.assert_array_equal(column, other.history_[key])
    X = ModularTask("x+y", 5).pairs
    np.testing.assert_array_equal(model.decision_function(X), other.decision_function(X))
    for name in ("feature_matrix_", "X_train_", "classes_", "n_iter_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(other, name))
    if isinstance(model, RFMClassifier):
        assert model.solver_ == other.solver_
        np.testing.assert_array_equal(model.feature_matrices_, other.feature_matrices_)
        np.testing.assert_array_equal(model.class_agops([1]), other.class_agops([1]))
    else:
        np.testing.assert_array_equal(model.network_.agop(), other.network_.agop())
        for name in ("matrices_", "matrix_epochs_"):
            kept, others = getattr(model, name), getattr(other, name)
            assert list(kept) == list(others)
            for key in kept:
                np.testing.assert_array_equal(kept[key], others[key])


def outputs(model):
    return model.decision_function(SPLIT.X_test)


@pytest.mark.parametrize("backend", ["cpp", "numpy", "cuda", "auto"])
@pytest.mark.parametrize("name", NAMES)
def test_pickles_copies_and_files(name, backend, tmp_path, emulated_backend):
    model = fitted(name, backend=backend)
    joblib.dump(model, tmp_path / "model.joblib")
    model.save(tmp_path / "model.npz")
    for other in (
        pickle.loads(pickle.dumps(model)),
        cloudpickle.loads(cloudpickle.dumps(model)),
        copy.deepcopy(model),
        copy.copy(model),
        joblib.load(tmp_path / "model.joblib"),
        grokrfm.load(tmp_path / "model.npz"),
        grokrfm.load(str(tmp_path / "model.npz")),
    ):
        assert_same(model, other)
        other.save(tmp_path / "again.npz")
        assert_same(model, grokrfm.load(tmp_path / "again.npz"))


def test_models_go_through_process_pools():
    models = [fitted(name) for name in NAMES]
    for method in ("spawn", "fork"):
        with ProcessPoolExecutor(1, get_context(method)) as pool:
            for model, there in zip(models, pool.map(outputs, models), strict=True):
                np.testing.assert_array_equal(there, outputs(model))


@pytest.mark.parametrize("name", NAMES)
def test_without_the_backend_of_the_fit_another_predicts(name, tmp_path, monkeypatch, caplog):
    from emulated import emulated_operations

    with monkeypatch.context() as patch:
        patch.setattr(backends, "_cuda_operations", emulated_operations)
        patch.setattr(backends, "obstacle", lambda backend: None)
        model = fitted(name, backend="cuda")
    model.save(tmp_path / "model.npz")
    pickled, expected = pickle.dumps(model), outputs(model)
    monkeypatch.setattr(
        backends, "obstacle", lambda backend: None if backend in ("cpp", "numpy") else "no GPU"
    )
    for read in (lambda: grokrfm.load(tmp_path / "model.npz"), lambda: pickle.loads(pickled)):
        caplog.clear()
        other = read()
        np.testing.assert_allclose(outputs(other), expected, atol=1e-4)
        assert "the model's 'cuda' cannot be had, 'auto' takes its place: no GPU" in caplog.text
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        with pytest.raises(RuntimeError, match="backend: 'cuda' cannot be had"):
            other.fit(SPLIT.X_train, SPLIT.y_train)


@pytest.mark.parametrize("name", NAMES)
def test_models_of_earlier_versions_load(name):
    """The files are of version 0.1.0; they stay as they are."""
    model = grokrfm.load(DATA / f"{name}_p5.npz")
    rerun = fitted(name)
    assert model.get_params() == rerun.get_params()
    np.testing.assert_allclose(outputs(model), outputs(rerun), atol=1e-4)
    np.testing.assert_allclose(model.feature_matrix_, rerun.feature_matrix_, atol=1e-4)
    np.testing.assert_allclose(model.history_["test_mse"], rerun.history_["test_mse"], rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_no_pickle_and_the_parameters_of_the_fit(name, tmp_path):
    path = tmp_path / "model"
    model = fitted(name)
    model.set_params(dtype="float64", modulus=np.int64(7))
    model.save(path)
    with np.load(path, allow_pickle=False) as stored:
        assert all(not stored[each].dtype.hasobject for each in stored)
    assert grokrfm.load(path).get_params() == fitted(name).get_params()


def test_what_is_no_fitted_model_of_numbers_is_not_saved(tmp_path):
    path = tmp_path / "model.npz"
    for model in (RFMClassifier(5), FCNClassifier(5)):
        with pytest.raises(NotFittedError, match="expected a call of fit"):
            model.save(path)
        assert pickle.loads(pickle.dumps(model)).get_params() == model.get_params()
    model = fitted("rfm")
    model.history_["note"] = np.array([None, "a", {}])
    with pytest.raises(TypeError, match="save: expected numbers in history/note, got object"):
        model.save(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fitted("rfm").save(tmp_path / "nowhere" / "model.npz")
    assert list(tmp_path.iterdir()) == []


def changed(name, **changes):
    """Content of a model file with changed header and arrays; None takes them out."""
    header, arrays = read_arrays(DATA / f"{name}_p5.npz")
    for key, value in changes.items():
        target = arrays if key in arrays else header
        target[key] = value
        if value is None:
            del target[key]
    return header, arrays


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("rfm", {"format": "a table"}, "expected a fitted model, got a file of something else"),
        ("rfm", {"format_version": 2, "version": "9.9"}, "got 2, written by grokrfm 9.9"),
        ("rfm", {"format_version": None}, "version 1 or earlier, got None"),
        ("rfm", {"estimator": "Forest"}, "state of a fitted model, got 'Forest'"),
        ("rfm", {"parameters": {"modulus": 5, "trees": 3}}, "unexpected keyword argument"),
        ("rfm", {"parameters": {"modulus": 7}}, r"feature_matrices.* \(any, 14, 14\)"),
        ("rfm", {"solver": "lu"}, "solver: expected one of"),
        ("rfm", {"dual_coef": None}, "'dual_coef'|an array dual_coef"),
        ("rfm", {"X_train": np.full((15, 2), 5)}, r"X_train: expected residues in \[0, 5\)"),
        ("rfm", {"y_train": np.zeros(15)}, "y_train: expected an integer dtype"),
        ("rfm", {"history/test_mse": np.zeros(2)}, "history: expected 3 rows"),
        ("network", {"first_weights": np.zeros((8, 10))}, "an array first_weights, float32"),
        ("network", {"X_train": np.full((15, 2), -1)}, "X_train: expected residues"),
        ("network", {"history/epoch": None}, "'epoch'"),
    ],
)
def test_foreign_content_is_refused(name, changes, message, tmp_path):
    path = tmp_path / "model.npz"
    header, arrays = changed(name, **changes)
    write_arrays(path, arrays, header)
    with pytest.raises(ValueError, match=message) as caught:
        grokrfm.load(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_refused(name, tmp_path):
    path = tmp_path / "model.npz"
    whole = (DATA / f"{name}_p5.npz").read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 60):
        flipped = whole[:at] + bytes([whole[at] ^ 1 << int(at) % 8]) + whole[at + 1 :]
        for content in (flipped, whole[:at]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=r"model\.npz: expected a file that ends with"):
                grokrfm.load(path)
    with pytest.raises(FileNotFoundError):
        grokrfm.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    "command, options",
    [
        ("run", ["--iterations", "2", "--kernel", "gaussian"]),
        ("run", ["--iterations", "2", "--solver", "cg"]),
        ("train-net", ["--epochs", "3", "--hidden-width", "8", "--record-every", "2"]),
    ],
)
def test_the_model_of_a_run_folder(command, options, tmp_path, capsys):
    folder = tmp_path / "run"
    noise = ["--operation", "x*y", "--modulus", "7", "--label-noise", "0.2", "--seed", "3"]
    assert main([command, *noise, *options, "--output", str(folder)]) == 0
    model = grokrfm.load_run(folder)
    split = ModularTask("x*y", 7).split(0.5, 3, label_noise=0.2)
    evaluated = (split.X_test, split.y_test)
    again = type(model)(**model.get_params()).fit(split.X_train, split.y_train, evaluated)
    np.testing.assert_array_equal(outputs(model), outputs(again))
    np.testing.assert_array_equal(model.history_["test_mse"], again.history_["test_mse"])
    np.testing.assert_array_equal(model.feature_matrix_, again.feature_matrix_)
    np.testing.assert_array_equal(model.X_train_, split.X_train)
    model.save(tmp_path / "model.npz")
    np.testing.assert_array_equal(outputs(grokrfm.load(tmp_path / "model.npz")), outputs(model))
    if command == "run":  # in the order of the operation, as the folder has it
        last = model.at_iteration(2).history_["circulant_deviation"][0]
        assert last == pytest.approx(model.history_["circulant_deviation"][2])
    (folder / "features.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"features\.npz: expected"):
        grokrfm.load_run(folder)


@pytest.mark.parametrize("name, modulus", [("rfm", 5), ("sampled", 7), ("network", 5)])
def test_run_folders_of_earlier_versions_load(name, modulus):
    """The folders are of version 0.1.0; they stay as they are."""
    model = grokrfm.load_run(DATA / f"run_folder_{name}")
    split = ModularTask("x+y", modulus).split(0.5, 0)
    if name == "sampled":  # its history is of drawn pairs
        assert model.score(split.X_train, split.y_train) == 1
        return
    assert model.score(split.X_test, split.y_test) == model.history_["test_accuracy"][-1]
    assert model.score(split.X_train, split.y_train) == model.history_["train_accuracy"][-1]


def test_sweeps_of_earlier_versions_are_done(monkeypatch):
    """The folder is of version 0.1.0; it stays as it is, and new runs come to the same numbers."""
    run = RFMRun(modulus=7, iterations=3, dtype="float64")
    with monkeypatch.context() as patch:
        patch.setattr(RFMRun, "run", lambda self: pytest.fail("done again"))
        table = sweep(run, {"seed": range(2)}, folder=DATA / "sweep", progress=False)
    assert [row["status"] for row in table] == ["done", "done"]
    for kept, result in table.histories():
        new = kept.run()
        for name in ("test_accuracy", "test_mse", "circulant_deviation"):
            np.testing.assert_allclose(result[name], new[name], rtol=1e-6, err_msg=name)
