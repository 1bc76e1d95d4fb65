"""Checkpoints go on to the same history, and only in the run that they belong to."""

import numpy as np
import pytest
from grokrfm import FCNClassifier, ModularTask, NetworkMeasures, RFMClassifier

MODELS = {
    "cg": (RFMClassifier, {"iterations": 5, "solver": "cg"}),
    "streamed": (RFMClassifier, {"iterations": 5, "solver": "cg", "kernel": "laplace"}),
    "cholesky": (RFMClassifier, {"iterations": 5, "kernel": "gaussian", "ridge": 0.1}),
    "network": (FCNClassifier, {"epochs": 5, "hidden_width": 16, "learning_rate": 0.01}),
}


def fit(name, callbacks=(), checkpoint=None, noise=0.0, seed=0, noisy_test=False, **changes):
    estimator, parameters = MODELS[name]
    split = ModularTask("x+y", 7).split(0.6, seed, label_noise=noise)
    y_test = (split.y_test + noisy_test) % 7
    recorders = [NetworkMeasures(every=2)] if name == "network" else []
    model = estimator(7, **{**parameters, **changes})
    return model.fit(
        split.X_train,
        split.y_train,
        (split.X_test, y_test),
        [*recorders, *callbacks],
        checkpoint=checkpoint,
    )


def checkpoints_of(name, **changes):
    stored = []
    model = fit(name, [lambda current: stored.append(current.checkpoint())], **changes)
    return model, stored


@pytest.mark.parametrize("name", MODELS)
def test_every_round_goes_on_to_the_same_end(name, backend):
    whole, stored = checkpoints_of(name, backend=backend)
    assert len(stored) == 6
    for checkpoint in stored:
        resumed = fit(name, checkpoint=checkpoint, backend=backend)
        assert list(resumed.history_) == list(whole.history_)
        for key in set(whole.history_) - {"seconds"}:
            np.testing.assert_array_equal(resumed.history_[key], whole.history_[key])
        np.testing.assert_array_equal(resumed.feature_matrix_, whole.feature_matrix_)
        X = np.argwhere(np.ones((7, 7)))
        np.testing.assert_array_equal(resumed.decision_function(X), whole.decision_function(X))


@pytest.mark.parametrize("name", MODELS)
def test_a_finished_run_is_extended(name):
    whole, _ = checkpoints_of(name)
    unit = "epochs" if name == "network" else "iterations"
    last = checkpoints_of(name, **{unit: 3})[1][-1]
    resumed = fit(name, checkpoint=last)
    np.testing.assert_array_equal(resumed.history_["test_mse"], whole.history_["test_mse"])
    np.testing.assert_array_equal(resumed.feature_matrix_, whole.feature_matrix_)


def test_rows_without_a_quantity_come_back_without_it():
    seen = []
    _, stored = checkpoints_of("network")
    fit("network", [lambda current: seen.append(current)], checkpoint=stored[2])
    resumed = fit("network", checkpoint=stored[3])
    assert np.isnan(resumed.history_["nfm_correlation"]).tolist() == [
        False,
        True,
        False,
        True,
        False,
        False,
    ]


def edits(checkpoint):
    """What a checkpoint may have suffered: (name, array) changed, or None for taken away."""
    for name, array in checkpoint.items():
        yield name, None
        if array.dtype.kind in "fi" and array.size:
            yield name, array + 1
            yield name, array.astype(np.float64) * np.nan
            yield name, array[..., None]
            if array.ndim:
                yield name, array[:-1]
        yield name, np.array("other")
    yield "foreign", np.zeros(3)
    yield "foreign", np.array([{}], dtype=object)


@pytest.mark.parametrize("name", MODELS)
def test_no_edited_checkpoint_is_taken(name):
    _, stored = checkpoints_of(name)
    count = 0
    for changed, array in edits(stored[3]):
        wrong = {**stored[3], changed: array}
        if array is None:
            del wrong[changed]
        with pytest.raises(ValueError, match=r"checkpoint: expected the arrays of a round's"):
            fit(name, checkpoint=wrong)
        count += 1
    assert count > 50
    with pytest.raises(ValueError, match="checkpoint: expected the arrays"):
        fit(name, checkpoint={})
    with pytest.raises(TypeError, match="checkpoint: expected a mapping, got int"):
        fit(name, checkpoint=3)


@pytest.mark.parametrize(
    "name, change",
    [
        *[("cg", {"ridge": 0.1}), ("cg", {"dtype": "float64"}), ("cg", {"tol": 1e-3})],
        *[("cg", {"agop_power": 1.0}), ("cg", {"centering": "none"}), ("cg", {"n_classes": 8})],
        ("cg", {"kernel": "general_quadratic"}),
        ("cholesky", {"bandwidth": 2.0}),
        *[("network", {"learning_rate": 0.02}), ("network", {"weight_decay": 0.5})],
        *[("network", {"optimizer": "sgd"}), ("network", {"activation": "relu"})],
        *[("network", {"batch_size": 8}), ("network", {"agop_penalty": 0.1})],
        *[(name, {"noise": 0.1}) for name in MODELS],
        *[(name, {"seed": 1}) for name in MODELS],
        *[(name, {"noisy_test": True}) for name in MODELS],
    ],
)
def test_a_checkpoint_of_another_run_is_refused(name, change):
    _, stored = checkpoints_of(name)
    with pytest.raises(ValueError, match="checkpoint: expected one of a run with the same data"):
        fit(name, checkpoint=stored[3], **change)


def test_a_checkpoint_of_another_solver_is_refused():
    _, stored = checkpoints_of("cg")
    with pytest.raises(ValueError, match="expected one of solver 'cholesky', got one of 'cg'"):
        fit("cg", checkpoint=stored[3], solver="cholesky")


def test_too_few_iterations_are_refused():
    _, stored = checkpoints_of("cg")
    with pytest.raises(ValueError, match="at least 3 iterations, got iterations=2"):
        fit("cg", checkpoint=stored[3], iterations=2)


def test_checkpoints_survive_a_file(tmp_path):
    whole, stored = checkpoints_of("network")
    np.savez(tmp_path / "stored.npz", **stored[3])
    with np.load(tmp_path / "stored.npz") as arrays:
        resumed = fit("network", checkpoint=arrays)
    np.testing.assert_array_equal(resumed.history_["test_mse"], whole.history_["test_mse"])


@pytest.mark.filterwarnings("ignore::grokrfm.SolverWarning", "ignore::RuntimeWarning")
def test_an_overflow_names_its_iteration():
    split = ModularTask("x+y", 7).split(0.5)
    model = RFMClassifier(7, agop_power=50.0, iterations=12)
    message = r"iteration [23]: .*eigenvalues did not converge"
    with pytest.raises(np.linalg.LinAlgError, match=message):
        model.fit(split.X_train, split.y_train)
