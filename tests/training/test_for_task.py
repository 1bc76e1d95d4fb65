"""The task reaches the estimator: its numbers, and its operation for the history."""

import numpy as np
import pytest
from grokrfm import (
    FCNClassifier,
    FeatureMeasures,
    ModularTask,
    MultiTask,
    NetworkMeasures,
    RFMClassifier,
    features,
    fit_many,
    load,
)
from grokrfm.tasks import Split, check_operation, formula_of


def assert_same_history(first, second, without=("seconds",)):
    assert set(first) == set(second)
    for key in set(first) - set(without):
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


def test_numbers_come_from_the_task():
    table = ModularTask.from_table((np.arange(5)[:, None] * 2 + np.arange(5)) % 9)
    model = RFMClassifier.for_task(table, iterations=3)
    assert (model.modulus, model.n_classes, model.n_tasks) == (5, 9, 1)
    assert model.iterations == 3
    several = RFMClassifier.for_task(MultiTask(["x+y", "x-y"], 5), kernel="gaussian", iterations=1)
    assert several.n_tasks == 2
    several.fit(MultiTask(["x+y", "x-y"], 5).split())
    network = FCNClassifier.for_task(table, hidden_width=8, epochs=1)
    assert (network.modulus, network.n_classes) == (5, 9)
    for call, error, message in (
        (lambda: RFMClassifier.for_task("x+y"), TypeError, "task: expected ModularTask or Multi"),
        (lambda: RFMClassifier.for_task(table, n_classes=3), TypeError, "n_classes: expected from"),
        (
            lambda: FCNClassifier.for_task(MultiTask(["x+y", "x-y"], 5)),
            ValueError,
            "task: expected one operation, got 2",
        ),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    "estimator, few", [(RFMClassifier, "iterations"), (FCNClassifier, "epochs")]
)
def test_a_split_is_its_arrays(estimator, few):
    task = ModularTask("x+y", 7)
    split = task.split(0.5, 1, label_noise=0.2)
    model = estimator.for_task(task, **{few: 2}).fit(split)
    arrays = estimator(7, **{few: 2})
    arrays.fit(split.X_train, split.y_train, (split.X_test, split.y_test))
    assert_same_history(model.history_, arrays.history_)
    fewer = (split.X_test[:3], split.y_test[:3])
    model = estimator.for_task(task, **{few: 2}).fit(split, eval_set=fewer)
    arrays.fit(split.X_train, split.y_train, fewer)
    assert_same_history(model.history_, arrays.history_)
    everything = estimator.for_task(task, **{few: 0}).fit(task.split(train_count=49))
    assert np.isnan(everything.history_["test_accuracy"]).all()


def test_what_does_not_go_with_a_split():
    split = ModularTask("x+y", 7).split()
    for model, given, message in (
        (RFMClassifier(7), (split, split.y_train), "y: expected None with a split"),
        (RFMClassifier(11), (split,), "X: expected a split modulo 11, got one modulo 7"),
        (FCNClassifier(11), (split,), "X: expected a split modulo 11, got one modulo 7"),
        (RFMClassifier(7), (split.X_train,), "y: expected labels, got None"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(*given)


@pytest.mark.parametrize("operation", ["x*y", "x/y"])
def test_the_history_is_in_the_order_of_the_operation(operation, tmp_path):
    task = ModularTask(operation, 31)
    split = task.split()
    model = RFMClassifier.for_task(task, iterations=20).fit(split)
    block = features.cross_block(model.feature_matrix_, operation)
    deviation = features.circulant_deviation(block)
    assert model.history_["circulant_deviation"][-1] == deviation < 0.2
    arrays = RFMClassifier(31, iterations=20)
    arrays.fit(split.X_train, split.y_train, (split.X_test, split.y_test))
    assert arrays.history_["circulant_deviation"][-1] > 0.9
    assert_same_history(model.history_, arrays.history_, ("seconds", "circulant_deviation"))
    # Of one round alone, too, and after a file.
    model.save(tmp_path / "model.npz")
    for each in (model, load(tmp_path / "model.npz")):
        assert each.at_iteration(20).history_["circulant_deviation"][0] == deviation
    [other] = fit_many([RFMClassifier.for_task(task, iterations=20)], [split])
    assert_same_history(other.history_, model.history_)


def test_what_a_split_knows():
    task = ModularTask("x * y", 7)
    assert task.operation == "x*y"
    for made in (task.split(), task.symmetric_split(), task.with_random_labels().split()):
        assert (made.operation, made.modulus) == ("x*y", 7)
    for other in (
        ModularTask.from_table(task.table),
        ModularTask(lambda x, y: x * y, 7),
        MultiTask(["x*y", "x+y"], 7),
    ):
        made = other.split()
        assert (made.operation, made.modulus) == (None, 7)
    before = Split(made.X_train, made.y_train, made.X_test, made.y_test, made.noisy)
    assert (before.operation, before.modulus) == (None, None)


def test_operations_by_name():
    assert check_operation(" x ^2 +  y") == "x^2+y"
    assert check_operation("x/y if y odd else x-y") == "x/y if y odd else x-y"
    assert formula_of(ModularTask("x*y", 5).with_random_labels().operation) == "x*y"
    for name in (None, "table", "my_operation", "<lambda>", "table (labels shuffled)"):
        assert formula_of(name) is None
    M = np.random.default_rng(0).normal(size=(14, 14))
    ordered = features.cross_block(M, "x*y")
    assert ordered.shape == (6, 6)
    np.testing.assert_array_equal(features.cross_block(M, "x * y"), ordered)
    for name in (None, "table", "x+y", "x ^ 2 + y"):
        np.testing.assert_array_equal(features.cross_block(M, name), M[7:, :7])
    np.testing.assert_array_equal(
        features.random_circulant("x * y", 7), features.random_circulant("x*y", 7)
    )
    split = ModularTask("x*y", 7).split()
    spaced, plain = (
        RFMClassifier(7, iterations=2).fit(split, callbacks=[FeatureMeasures(name)]).history_
        for name in ("x * y", "x*y")
    )
    assert_same_history(spaced, plain)


@pytest.mark.parametrize("name", ["x%y", "x*z", "x*y mod 7", "", 3, "mul (labels shuffled twice)"])
def test_unknown_formulas_are_refused_with_those_there_are(name):
    for call in (
        lambda: FeatureMeasures(name),
        lambda: NetworkMeasures(name),
        lambda: features.cross_block(np.eye(14), name),
        lambda: ModularTask(name, 7),
    ):
        with pytest.raises(ValueError, match=r"operation: expected one of x\+y, .*x/y.*; got"):
            call()
