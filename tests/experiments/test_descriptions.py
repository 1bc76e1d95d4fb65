"""Descriptions of runs: complete, plain, refused when they are bad."""

import inspect
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
from grokrfm import ModularTask, MultiTask, features
from grokrfm.analysis import feature_correlation
from grokrfm.experiments import NetworkRun, OrbitRun, RFMRun
from grokrfm.experiments.store import describe

FROM_TASK = {"modulus", "n_classes", "n_tasks"}
TABLE = ((0, 1, 2), (1, 2, 0), (2, 0, 1))


@pytest.mark.parametrize("kind", [RFMRun, NetworkRun])
def test_every_parameter_of_the_estimator_with_its_default(kind):
    ours = {field.name: field.default for field in fields(kind)}
    for name, parameter in inspect.signature(kind.estimator).parameters.items():
        if name not in FROM_TASK:
            assert ours[name] == parameter.default, name


def test_values_become_plain():
    given = RFMRun(
        operation=["x+y"], modulus=np.int64(7), seed=np.int32(3), bandwidth=2, keep=np.array([1, 2])
    )
    assert given == RFMRun(operation="x+y", modulus=7, seed=3, bandwidth=2.0, keep=(1, 2))
    assert type(given.modulus) is int and type(given.bandwidth) is float
    assert pickle.loads(pickle.dumps(given)) == given


def test_the_task_and_split_are_those_described():
    table = RFMRun(table=np.array(TABLE), train_count=4, label_noise=0.5, seed=2, iterations=1)
    assert table == replace(table) and (table.operation, table.modulus) == ("table", 3)
    split = ModularTask.from_table(TABLE).split(seed=2, train_count=4, label_noise=0.5)
    np.testing.assert_array_equal(table.split().y_train, split.y_train)
    assert split.noisy.sum() == 2
    shuffled = RFMRun(modulus=5, random_labels=True, seed=1).split()
    expected = ModularTask("x+y", 5).with_random_labels(1).split(seed=1)
    np.testing.assert_array_equal(shuffled.y_train, expected.y_train)
    assert isinstance(RFMRun(operation=("x+y", "x-y"), modulus=5).task(), MultiTask)
    assert len(table.run()["test_accuracy"]) == 2


def test_a_symmetric_split():
    run = RFMRun(modulus=7, train_fraction=6 / 7, reflection=2, moved_out=3, seed=4, iterations=1)
    expected = ModularTask("x+y", 7).symmetric_split(None, 4, reflection=2, moved_out=3)
    np.testing.assert_array_equal(run.split().X_train, expected.X_train)
    plain = replace(run, moved_out=None).split()
    assert len(plain.X_train) == len(expected.X_train) + 3
    assert len(NetworkRun(modulus=7, train_fraction=6 / 7, reflection=2).split().X_test) == 7


def test_what_is_measured_of_fact():
    run = RFMRun(modulus=7, iterations=2, dtype="float64", feature_update="fact", measure_fact=True)
    result = run.run()
    model = run.model().fit(run.split())
    F, M = model.fact(), model.feature_matrix_
    expected = feature_correlation(M, F + F.T, diagonal=False)
    assert result["fact_correlation"][-1] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(result["fact_correlation"][0])  # M_0 = I
    assert result["agop_correlation"].shape == (3,) and result["agop_correlation"][-1] < 1
    network = NetworkRun(modulus=7, hidden_width=8, epochs=2, measure_fact=True).run()
    assert np.isfinite(network["nfm_fact_correlation"]).all() and "nfm" not in network


def test_later_fields_leave_the_names_of_results_alone(tmp_path):
    described = describe(RFMRun(modulus=7))["fields"]
    assert not {"feature_update", "measure_fact", "reflection", "moved_out"} & set(described)
    assert described["kernel"] == "quadratic"
    assert describe(RFMRun(modulus=7, feature_update="fact"))["fields"]["feature_update"] == "fact"


@pytest.mark.parametrize("start", ["I+R", "I-R", "random projection"])
def test_a_run_from_a_reflection(start):
    run = OrbitRun(
        modulus=7, iterations=1, k=2, start=start, dtype="float64", ridge=1e-6, keep=(0,)
    )
    result = run.run()
    M = result["matrix_0"]
    np.testing.assert_allclose(np.linalg.eigvalsh(M), [0] * 7 + [2] * 7, atol=1e-5)
    if start != "random projection":
        R = features.reflection_matrix(7, 2)
        np.testing.assert_allclose(R @ M, M if start == "I+R" else -M, atol=1e-6)
        assert result["orbit_recall"] == 1
    assert all(result[f"{name}_recall"].shape == () for name in ("orbit", "other"))


@pytest.mark.parametrize("kind, unit", [(RFMRun, "iterations"), (NetworkRun, "epochs")])
def test_a_run_ends_early(kind, unit):
    run = kind(modulus=5, stop_accuracy=0.0, **{unit: 3})
    assert len(run.run()["test_accuracy"]) == 1
    assert len(replace(run, stop_accuracy=1.0, seed=1).run()["test_accuracy"]) >= 2


@pytest.mark.parametrize(
    "kind, values, message",
    [
        (RFMRun, {"operation": "x%y"}, "operation: expected one of"),
        (RFMRun, {"operation": "x/y", "modulus": 6}, "prime"),
        (RFMRun, {"modulus": 1}, "modulus: expected an integer >= 2, got 1"),
        (RFMRun, {"train_fraction": 1.5}, r"train_fraction: expected a number in \(0, 1\)"),
        (RFMRun, {"train_count": 0}, "train_count: expected an integer >= 1, got 0"),
        (RFMRun, {"label_noise": 1}, r"label_noise: expected a number in \[0, 1\), got 1"),
        (RFMRun, {"stop_accuracy": 2.0}, r"stop_accuracy: expected a number in \[0, 1\], got 2"),
        (RFMRun, {"kernel": "linear"}, "kernel: expected one of"),
        (RFMRun, {"keep": (31,)}, "keep: expected an integer from 0 to 30, got 31"),
        (RFMRun, {"random_circulant": 1}, "random_circulant: expected True or False, got 1"),
        (RFMRun, {"operation": ("x+y", "x-y"), "enforce": True}, "enforce: expected False"),
        (RFMRun, {"table": TABLE, "random_circulant": True}, "random_circulant: expected False"),
        (RFMRun, {"table": TABLE, "modulus": 5}, "modulus: expected that of the table, 3, got 5"),
        (RFMRun, {"table": TABLE, "operation": "x-y"}, "operation: expected none beside a table"),
        (RFMRun, {"measure_fact": True, "agop_classes": 3}, "measure_fact: expected False with"),
        (RFMRun, {"reflection": 0.5}, "reflection: expected an integer, got 0.5"),
        (RFMRun, {"reflection": 1, "moved_out": -1}, "moved_out: expected an integer >= 0, got -1"),
        (RFMRun, {"moved_out": 1}, "moved_out: expected None without a reflection, got 1"),
        (RFMRun, {"reflection": 0, "label_noise": 0.1}, "reflection: expected None with several"),
        (RFMRun, {"operation": ("x+y", "x-y"), "reflection": 0}, "reflection: expected None with"),
        (OrbitRun, {"start": "R"}, "start: expected one of I.R, I-R, random projection; got 'R'"),
        (OrbitRun, {"operation": "x-y"}, "operation: expected x.y, got 'x-y'"),
        (NetworkRun, {"operation": ("x+y", "x-y")}, "task: expected one operation, got 2"),
        (NetworkRun, {"activation": "sine"}, "activation: expected one of"),
    ],
)
def test_bad_descriptions_are_refused(kind, values, message):
    with pytest.raises((TypeError, ValueError), match=message):
        kind(**{"modulus": 7, **values} if "table" not in values else values)
