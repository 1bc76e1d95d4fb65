"""Networks: the estimator, its history and measures, targets."""

import importlib
import sys

import numpy as np
import pytest
from grokrfm import FCNClassifier, ModularTask, NetworkMeasures, NotFittedError
from grokrfm.analysis import feature_correlation
from grokrfm.features import alignment, circulant_deviation, cross_block
from grokrfm.operations import memory
from grokrfm.operations.cpp import CppOperations
from sklearn.base import clone


def fit(p=11, operation="x+y", callbacks=(), input_transform=None, checkpoint=None, **parameters):
    split = ModularTask(operation, p).split(0.5, 0)
    parameters = {"epochs": 3, "hidden_width": 40, "dtype": "float64", **parameters}
    return FCNClassifier(p, **parameters).fit(
        split.X_train,
        split.y_train,
        (split.X_test, split.y_test),
        callbacks,
        input_transform,
        checkpoint,
    )


def test_history_and_recorder():
    model = fit(epochs=5, callbacks=[NetworkMeasures("x+y", every=2)])
    history = model.history_
    assert all(values.shape == (6,) for values in history.values())
    np.testing.assert_array_equal(history["epoch"], np.arange(6))
    measured = np.isfinite(history["nfm_correlation"])
    np.testing.assert_array_equal(measured, [True, False, True, False, True, True])
    np.testing.assert_array_equal(model.matrix_epochs_["feature_matrix"], [0, 2, 4, 5])
    features = model.matrices_["feature_matrix"][-1]
    np.testing.assert_array_equal(features, model.feature_matrix_)
    network = model.network_
    W1, W2 = network.weights()
    assert W1.shape == (40, 22) and W2.shape == (11, 40)
    np.testing.assert_allclose(network.neural_feature_matrix(), W1.T @ W1, atol=1e-12)
    np.testing.assert_allclose(features @ features, network.agop(), atol=1e-10)
    block = cross_block(features)
    for name in ("circulant", "hankel"):
        expected = circulant_deviation(block, name)
        assert history[f"circulant_deviation_{name}"][-1] == pytest.approx(expected)
    assert history["circulant_deviation"][-1] == pytest.approx(circulant_deviation(block))
    assert history["agop_trace"][-1] == pytest.approx(np.trace(network.agop()))
    first = model.matrices_["feature_matrix"][0]
    assert history["feature_alignment"][0] == pytest.approx(alignment(first, features))
    split = ModularTask("x+y", 11).split(0.5, 0)
    assert model.score(split.X_test, split.y_test) == history["test_accuracy"][-1]
    X = np.eye(22)[split.X_test + np.array([0, 11])].sum(axis=1)
    np.testing.assert_allclose(
        model.decision_function(split.X_test), (X @ W1.T) ** 2 @ W2.T, atol=1e-12
    )
    assert model.decision_function(np.empty((0, 2), int)).shape == (0, 11)


def test_correlation_with_and_without_the_diagonal():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(2, 6, 6))
    assert feature_correlation(A, B) == pytest.approx(np.corrcoef(A.ravel(), B.ravel())[0, 1])
    off = ~np.eye(6, dtype=bool)
    assert feature_correlation(A, B, diagonal=False) == pytest.approx(
        np.corrcoef(A[off], B[off])[0, 1]
    )
    assert np.isnan(feature_correlation(np.ones((3, 3)), A[:3, :3]))
    with pytest.raises(ValueError, match="expected two"):
        feature_correlation(A, B[:5])


def test_initial_weights_and_seeds():
    large = fit(epochs=0, hidden_width=1000, initialization_scale=3.0)
    for weights, fan_in in zip(large.network_.weights(), (22, 1000), strict=True):
        limit = 3 / np.sqrt(fan_in)
        assert np.abs(weights).max() <= limit
        assert weights.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    single = fit(epochs=0, dtype="float32").network_.weights()[0]
    double = fit(epochs=0).network_.weights()[0]
    np.testing.assert_array_equal(single, double.astype(np.float32))
    one, same, other = fit(seed=1), fit(seed=1), fit(seed=2)
    np.testing.assert_array_equal(one.history_["test_mse"], same.history_["test_mse"])
    assert one.history_["train_mse"][0] != other.history_["train_mse"][0]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_backends_agree_along_a_run(optimizer):
    T = np.random.default_rng(0).normal(size=(22, 22)) / 5
    models = [
        fit(
            backend=backend,
            input_transform=T,
            agop_penalty=1e-3,
            optimizer=optimizer,
            weight_decay=1e-2,
            learning_rate=1e-2,
        )
        for backend in ("numpy", "cpp")
    ]
    for key in ("train_mse", "test_mse", "test_correct_class_mse"):
        np.testing.assert_allclose(*(model.history_[key] for model in models), rtol=1e-7)


def test_transformed_inputs_are_what_the_network_sees():
    T = np.random.default_rng(0).normal(size=(22, 22)) / 5
    model = fit(input_transform=T)
    split = ModularTask("x+y", 11).split(0.5, 0)
    W1, W2 = model.network_.weights()
    X = np.eye(22)[split.X_test + np.array([0, 11])].sum(axis=1) @ T.T
    np.testing.assert_allclose(
        model.decision_function(split.X_test), (X @ W1.T) ** 2 @ W2.T, atol=1e-12
    )
    same = fit(input_transform=np.eye(22))
    np.testing.assert_allclose(same.history_["test_mse"], fit().history_["test_mse"], rtol=1e-9)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_checkpoint_goes_on_to_the_same_history(optimizer):
    stored = []

    def store(current):
        if current.epoch == 2:
            stored.append(current.checkpoint())

    recorder = NetworkMeasures(every=2)
    settings = {"epochs": 5, "optimizer": optimizer, "learning_rate": 0.01}
    whole = fit(callbacks=[recorder, store], **settings)
    resumed = fit(callbacks=[recorder], checkpoint=stored[0], **settings)
    assert set(whole.history_) == set(resumed.history_)
    for key in set(whole.history_) - {"seconds"}:
        np.testing.assert_array_equal(whole.history_[key], resumed.history_[key])
    np.testing.assert_array_equal(
        whole.matrices_["feature_matrix"], resumed.matrices_["feature_matrix"]
    )
    at_its_end = fit(checkpoint=stored[0], **{**settings, "epochs": 2})
    np.testing.assert_array_equal(at_its_end.history_["test_mse"], whole.history_["test_mse"][:3])
    assert at_its_end.predict([[0, 1]]).shape == (1,)
    for change, message in [
        ({"epochs": 1}, "at least 2 epochs, got epochs=1"),
        ({"hidden_width": 41}, "a run with the same data and parameters"),
        ({"dtype": "float32"}, "a run with the same data and parameters"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(checkpoint=stored[0], **{**settings, **change})


def test_callbacks_add_columns_and_stop():
    def watch(current):
        current.record["norm"] = float(np.linalg.norm(current.network.weights()[0]))
        current.keep("classes", current.network.class_agops())

    model = fit(epochs=9, callbacks=[lambda current: current.epoch == 2, watch])
    assert model.n_iter_ == 2
    assert model.history_["norm"].shape == (3,)
    assert model.matrices_["classes"].shape == (3, 11, 22, 22)
    np.testing.assert_allclose(
        model.matrices_["classes"][-1].sum(axis=0), model.network_.agop(), atol=1e-12
    )


def test_an_interrupt_keeps_completed_epochs(monkeypatch):
    split = ModularTask("x+y", 11).split()
    model = FCNClassifier(11, epochs=5, hidden_width=40)
    after_two = fit(epochs=2, dtype="float32")
    calls = []
    epoch = CppOperations.network_epoch

    def interrupted(*arguments):
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return epoch(*arguments)

    monkeypatch.setattr(CppOperations, "network_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(split.X_train, split.y_train)
    assert model.n_iter_ == 2 and np.isnan(model.history_["test_mse"]).all()
    np.testing.assert_array_equal(model.network_.weights()[0], after_two.network_.weights()[0])


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
def test_divergence_is_an_error(backend):
    with pytest.raises(FloatingPointError, match="the network diverged in epoch 1"):
        fit(optimizer="sgd", learning_rate=1e200, backend=backend)


def test_the_feature_matrix_is_computed_once(monkeypatch):
    model = fit(epochs=1)
    first = model.feature_matrix_
    monkeypatch.setattr(CppOperations, "matrix_power", lambda *_: pytest.fail("computed again"))
    assert model.feature_matrix_ is first and not first.flags.writeable


def test_smallest_network():
    model = FCNClassifier(2, hidden_width=1, epochs=2, batch_size=1, n_classes=1)
    model.fit([[0, 1]], [0], eval_set=([[1, 1], [0, 0]], [0, 0]))
    assert np.isfinite(model.history_["test_mse"]).all()
    repeated = FCNClassifier(3, hidden_width=5, epochs=1).fit([[0, 0], [0, 0]], [1, 2])
    assert np.isfinite(repeated.history_["train_mse"]).all()


def test_defaults_are_those_of_the_paper():
    assert FCNClassifier(61).get_params() == {
        "modulus": 61,
        "hidden_width": 1024,
        "activation": "quadratic",
        "epochs": 50,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "weight_decay": 1.0,
        "agop_penalty": 0.0,
        "seed": 0,
        "optimizer": "adamw",
        "initialization_scale": 1.0,
        "backend": "auto",
        "dtype": "float32",
        "n_classes": None,
    }


def test_scikit_learn_conventions():
    model = FCNClassifier(7, activation="relu", epochs=2)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert copy.set_params(seed=4) is copy and copy.seed == 4
    assert repr(copy) == "FCNClassifier(modulus=7, activation='relu', epochs=2, seed=4)"
    with pytest.raises(ValueError, match="width: not a parameter of FCNClassifier"):
        copy.set_params(width=1)
    for call in (copy.predict, copy.decision_function):
        with pytest.raises(NotFittedError, match="FCNClassifier: expected a call of fit"):
            call([[0, 1]])
    with pytest.raises(NotFittedError):
        _ = copy.feature_matrix_


def bad_fits():
    X, y = [[0, 1], [1, 1]], [1, 2]
    for parameters, error, message in [
        ({"modulus": 1}, ValueError, "modulus: expected an integer >= 2, got 1"),
        ({"hidden_width": 0}, ValueError, "hidden_width: expected an integer >= 1, got 0"),
        ({"hidden_width": 8.0}, TypeError, "hidden_width: expected an integer, got 8.0"),
        ({"activation": "tanh"}, ValueError, "activation: expected one of quadratic, relu, her"),
        ({"optimizer": "adam"}, ValueError, "optimizer: expected one of adamw, sgd; got 'adam'"),
        ({"epochs": -1}, ValueError, "epochs: expected an integer >= 0, got -1"),
        ({"batch_size": 0}, ValueError, "batch_size: expected an integer >= 1, got 0"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate: expected a finite number > 0"),
        ({"weight_decay": -1}, ValueError, "weight_decay: expected a finite number >= 0"),
        ({"agop_penalty": np.nan}, ValueError, "agop_penalty: expected a finite number >= 0"),
        ({"initialization_scale": 0}, ValueError, "initialization_scale: expected a finite num"),
        ({"seed": -1}, ValueError, "seed: expected an integer >= 0, got -1"),
        ({"backend": "torch"}, ValueError, "backend: expected one of auto, .*; got 'torch'"),
        ({"dtype": "float16"}, ValueError, "dtype: expected one of float32, float64"),
        ({"n_classes": 0}, ValueError, "n_classes: expected an integer >= 1, got 0"),
    ]:
        yield pytest.param(parameters, (X, y), {}, error, message, id=message)
    for data, error, message in [
        (([[0.0, 1.0]], [1]), TypeError, "X: expected an integer dtype, got float64"),
        (([[0, 5]], [1]), ValueError, r"X: expected residues in \[0, 5\), got 5"),
        ((X, [1.0, 0.5]), TypeError, "y: expected an integer dtype, got float64"),
        ((np.empty((0, 2), int), []), ValueError, "X: expected at least one training pair"),
    ]:
        yield pytest.param({}, data, {}, error, message, id=message)
    for options, error, message in [
        ({"eval_set": 3}, TypeError, r"eval_set: expected a tuple \(X_test, y_test\)"),
        (
            {"input_transform": np.eye(4)},
            ValueError,
            r"input_transform: expected shape \(10, 10\), got \(4, 4\)",
        ),
        (
            {"input_transform": np.eye(10) * 1j},
            TypeError,
            "input_transform: expected a real dtype, got complex128",
        ),
        (
            {"input_transform": np.diag([np.nan] + [1.0] * 9)},
            ValueError,
            "input_transform: expected finite entries, got nan",
        ),
    ]:
        yield pytest.param({}, (X, y), options, error, message, id=message)


@pytest.mark.parametrize("parameters, data, options, error, message", list(bad_fits()))
def test_bad_input(parameters, data, options, error, message, monkeypatch):
    monkeypatch.setattr(
        "grokrfm.network.classifier.make_operations", lambda name: pytest.fail("work began")
    )
    monkeypatch.setattr(
        "grokrfm.network.classifier.initial_network", lambda *_: pytest.fail("work began")
    )
    with pytest.raises(error, match=message) as caught:
        FCNClassifier(**{"modulus": 5, **parameters}).fit(*data, **options)
    assert "\n" not in str(caught.value)


def test_memory_is_checked_before_any_work(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    with pytest.raises(MemoryError, match="a network of width 40 needs"):
        fit()


def test_the_torch_module_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "grokrfm.torch", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'grokrfm\[torch\]'"):
        importlib.import_module("grokrfm.torch")


OPERATIONS = ("x+y", "x-y", "x*y", "x/y")


@pytest.mark.parametrize("operation, seed", [*((name, 0) for name in OPERATIONS), ("x+y", 1)])
def test_networks_grok_within_20_epochs(operation, seed):
    split = ModularTask(operation, 61).split(0.5, seed)
    model = FCNClassifier(61, epochs=20, seed=seed)
    recorder = NetworkMeasures(operation, every=20)
    model.fit(split.X_train, split.y_train, (split.X_test, split.y_test), [recorder])
    accuracy = model.history_["test_accuracy"]
    assert accuracy[8] < 0.15
    assert accuracy[20] >= 0.99
    assert model.history_["train_accuracy"][10] == 1
    correlation = model.history_["nfm_correlation_off_diagonal"]
    assert correlation[0] == pytest.approx(0.93, abs=0.02)
    assert correlation[20] == pytest.approx(0.80, abs=0.06)
    assert (model.history_["nfm_correlation"][[0, 20]] > 0.97).all()
    # Networks end with the orientation opposite to that of RFM.
    hankel, circulant = (
        model.history_[f"circulant_deviation_{name}"][20] for name in ("hankel", "circulant")
    )
    assert (hankel < circulant) == (operation in ("x+y", "x*y"))
    assert min(hankel, circulant) < 0.6


def test_float32_follows_float64():
    histories = []
    for dtype in ("float32", "float64"):
        split = ModularTask("x+y", 61).split(0.5, 0)
        model = FCNClassifier(61, epochs=12, hidden_width=256, dtype=dtype)
        histories.append(model.fit(split.X_train, split.y_train, (split.X_test, split.y_test)))
    single, double = (model.history_["test_mse"] for model in histories)
    np.testing.assert_allclose(single, double, rtol=1e-3)


@pytest.mark.parametrize("activation", ["quadratic", "relu", "hermite"])
def test_fact_is_the_gradient_of_the_loss_times_the_inputs(activation):
    """By finite differences; and −W₁ᵀ ∂L/∂W₁, hence n λ NFM where the loss with decay ends."""
    p, step = 5, 1e-6
    split = ModularTask("x+y", p).split(0.6)
    model = FCNClassifier(p, hidden_width=8, activation=activation, epochs=2, dtype="float64")
    network = model.fit(split).network_
    W1, W2 = network.weights()
    value = {
        "quadratic": np.square,
        "relu": lambda z: np.maximum(z, 0),
        "hermite": lambda z: (z * z - 1) / np.sqrt(2),
    }[activation]
    X = np.eye(p)[split.X_train].reshape(-1, 2 * p)

    def losses(Z, first=W1):
        errors = value(Z @ first.T) @ W2.T - np.eye(p)[split.y_train]
        return 0.5 * (errors**2).sum(axis=1)

    expected = np.zeros((2 * p, 2 * p))
    for v, e in enumerate(step * np.eye(2 * p)):
        expected[v] = -((losses(X + e) - losses(X - e)) / (2 * step)) @ X
    F = network.fact(split.y_train)
    np.testing.assert_allclose(F, expected, atol=1e-6 * abs(expected).max())
    by_weights = np.zeros_like(W1)
    for at in np.ndindex(W1.shape):
        change = np.zeros_like(W1)
        change[at] = step
        by_weights[at] = (losses(X, W1 + change) - losses(X, W1 - change)).sum() / (2 * step)
    np.testing.assert_allclose(F, -W1.T @ by_weights, atol=1e-6 * abs(F).max())
    with pytest.raises(ValueError, match="labels: expected 15 labels, one a pair, got 14"):
        network.fact(split.y_train[1:])


def test_with_weight_decay_the_features_come_to_what_the_theorem_says():
    """NFM = 2 F / (n c λ) where SGD with decay λ ends; the loss is a mean of n c squares."""
    p, decay = 7, 1e-3
    split = ModularTask("x+y", p).split(0.8)
    n = len(split.X_train)
    model = FCNClassifier(
        p, hidden_width=32, epochs=4000, batch_size=n, optimizer="sgd", learning_rate=1.0,
        weight_decay=decay, dtype="float64",
    )  # fmt: skip
    network = model.fit(split).network_
    nfm, F = network.neural_feature_matrix(), network.fact(split.y_train)
    np.testing.assert_allclose(2 * F / (n * p * decay), nfm, atol=0.1 * abs(nfm).max())
    off = ~np.eye(2 * p, dtype=bool)
    assert np.corrcoef(nfm[off], F[off])[0, 1] > 0.99
