"""What callbacks may do, refits that fail, numbers of NumPy's types."""

import numpy as np
import pytest
from grokrfm import FCNClassifier, ModularTask, RFMClassifier
from grokrfm.operations.cpp import CppOperations
from grokrfm.tasks import MultiTask

SPLIT = ModularTask("x+y", 7).split(0.5, 0)
OTHER = ModularTask("x*y", 7).split(0.5, 1)
MODELS = {
    "cg": lambda **given: RFMClassifier(7, solver="cg", **{"iterations": 4, **given}),
    "streamed": lambda **given: RFMClassifier(
        7, solver="cg", **{"kernel": "laplace", "iterations": 4, **given}
    ),
    "cholesky": lambda **given: RFMClassifier(7, kernel="gaussian", **{"iterations": 4, **given}),
    "network": lambda **given: FCNClassifier(7, hidden_width=8, epochs=4),
}


def fit(model, split=SPLIT, **options):
    return model.fit(split.X_train, split.y_train, (split.X_test, split.y_test), **options)


def number(current):
    """Of the round or epoch."""
    return next(iter(current.record.values()))


def state(model):
    arrays = {key: column for key, column in model.history_.items() if key != "seconds"}
    arrays |= {"M": model.feature_matrix_, "outputs": model.decision_function(SPLIT.X_test)}
    arrays |= {"n": model.n_iter_, "X": model.X_train_}
    return {key: np.array(array) for key, array in arrays.items()}


def assert_same(first, second):
    assert set(first) == set(second)
    for key, array in first.items():
        np.testing.assert_array_equal(array, second[key], err_msg=key)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [1, 2.5, "go on", np.int64(1), np.ones(2), {"a": 1}, None, False])
def test_only_true_ends_a_run(name, value):
    assert fit(MODELS[name](), callbacks=[lambda current: value]).n_iter_ == 4
    for true in (True, np.True_, np.float32(1) >= 1):
        assert fit(MODELS[name](), callbacks=[lambda current, true=true: true]).n_iter_ == 0


@pytest.mark.parametrize("name", MODELS)
def test_callbacks_cannot_change_the_state(name):
    buffer = np.zeros((3, 3))

    def meddle(current):
        for array in current.checkpoint().values():
            if array.dtype.kind == "f":
                array[...] = 7
        if name != "network":
            with pytest.raises(ValueError, match="read-only"):
                current.feature_matrix[0, 0] = 7
            return
        with pytest.raises(ValueError, match="read-only"):
            current.network.feature_matrix()[0, 0] = 7
        for array in (*current.network.weights(), current.network.neural_feature_matrix()):
            array[...] = 7
        buffer[...] = len(seen)
        seen.append(buffer[0, 0])
        current.keep("mine", buffer)

    seen = []
    model = fit(MODELS[name](), callbacks=[meddle])
    assert_same(state(model), state(fit(MODELS[name]())))
    if name == "network":
        np.testing.assert_array_equal(model.matrices_["mine"][:, 0, 0], range(5))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_refit_that_fails_before_its_first_round_leaves_the_fit(name, error, monkeypatch):
    model = fit(MODELS[name]())
    before = state(model)

    def fail(*arguments, **named):
        raise error

    with monkeypatch.context() as patch:
        for operation in ("grid_round", "kernel_matrix", "network_outputs"):
            patch.setattr(CppOperations, operation, fail)
        with pytest.raises(error):
            fit(model, OTHER)
    assert_same(state(model), before)
    with pytest.raises(ValueError, match="y: expected"):
        model.fit(OTHER.X_train, OTHER.y_train[1:])
    assert_same(state(model), before)


@pytest.mark.parametrize("name", MODELS)
def test_a_refit_that_is_interrupted_is_taken_with_its_complete_rounds(name):
    def interrupt(current):
        if number(current) == 2:
            raise KeyboardInterrupt

    model = fit(MODELS[name]())
    with pytest.raises(KeyboardInterrupt):
        fit(model, OTHER, callbacks=[interrupt])
    expected = fit(MODELS[name](), OTHER, callbacks=[lambda c: number(c) == 2])
    first, second = state(model), state(expected)
    for key in set(first) - {"outputs", "feature_alignment"}:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)
    np.testing.assert_allclose(first["outputs"], second["outputs"], atol=1e-4)


def test_parameters_set_after_the_fit_are_for_the_next_one():
    changes = {
        "modulus": 5,
        "dtype": "float64",
        "backend": "numpy",
        "n_classes": 3,
        "centering": "none",
        "kernel": "laplace",
        "n_tasks": 2,
        "activation": "relu",
        "hidden_width": 3,
    }
    X = ModularTask("x+y", 7).pairs
    for make in MODELS.values():
        model = fit(make())
        before = [model.decision_function(X), model.feature_matrix_, model.predict(X)]
        if isinstance(model, RFMClassifier):
            before.append(model.class_agops())
        for key, value in changes.items():
            if key in model.get_params():
                model.set_params(**{key: value})
        after = [model.decision_function(X), model.feature_matrix_, model.predict(X)]
        if isinstance(model, RFMClassifier):
            after.append(model.class_agops())
        for first, second in zip(before, after, strict=True):
            np.testing.assert_array_equal(first, second)
            assert first.dtype == second.dtype
        assert model.score(SPLIT.X_test, SPLIT.y_test) == model.history_["test_accuracy"][-1]


@pytest.mark.parametrize("small, large", [(np.int8, np.uint8), (np.uint8, np.int16)])
def test_integers_of_numpy_are_integers(small, large):
    """None of them overflows, and the fit is that of Python's."""

    def early(current):
        return number(current) == 1

    split = ModularTask("x+y", small(67)).split(small(1) / 2, large(0))
    for numpys, pythons in (
        (
            RFMClassifier(
                small(67), iterations=large(255), n_classes=small(67), ridge=np.float32(0.5)
            ),
            RFMClassifier(67, iterations=255, n_classes=67, ridge=0.5),
        ),
        (
            FCNClassifier(
                small(67), hidden_width=large(130), epochs=large(255), batch_size=small(100)
            ),
            FCNClassifier(67, hidden_width=130, epochs=255, batch_size=100),
        ),
    ):
        first, second = (
            model.fit(split.X_train, split.y_train, callbacks=[early])
            for model in (numpys, pythons)
        )
        for key in set(first.history_) - {"seconds"}:
            np.testing.assert_array_equal(first.history_[key], second.history_[key])
        np.testing.assert_array_equal(
            first.decision_function(split.X_test), second.decision_function(split.X_test)
        )


def test_numbers_of_tasks_of_numpy():
    split = MultiTask(["x+y", "x-y"], 67).split(train_count=20)
    model = RFMClassifier(np.int8(67), n_tasks=np.int8(2), depth=np.uint8(1), iterations=np.int8(1))
    model.fit(split.X_train, split.y_train)
    assert model.predict(split.X_test).shape == split.y_test.shape
