import numpy as np
import pytest
from grokrfm import FeatureMeasures, ModularTask, MultiTask, RFMClassifier, features, fourier
from grokrfm.analysis import feature_measures


@pytest.mark.parametrize(
    "operation, own, other",
    [
        (operation, f"{orientation}_energy", f"{rest}_energy")
        for operation, orientation in features.ORIENTATIONS.items()
        for rest in {"circulant", "hankel"} - {orientation}
    ],
)
def test_structure_grows_from_the_start_in_its_own_orientation(operation, own, other):
    split = ModularTask(operation, 61).split(0.5)
    model = RFMClassifier(61, iterations=28)
    model.fit(split.X_train, split.y_train, callbacks=[FeatureMeasures(operation)])
    history = model.history_
    assert np.isnan(history[own][0])  # the cross block of the identity is zero
    # From round 3 on, long before the transition at 11 to 13, the structure grows every round.
    assert (np.diff(history[own][3:12]) > 0).all()
    assert (np.diff(history["circulant_deviation"][3:12]) < 0).all()
    assert history[own][28] > 0.95 and history[other][28] < 0.03
    assert history["circulant_deviation"][28] < 0.04
    assert 0.71 < history["feature_alignment"][0] < 0.79
    assert (np.diff(history["feature_alignment"]) > 0).all()
    assert history["effective_rank"][0] == pytest.approx(122)
    assert history["effective_rank"][28] < 90


@pytest.mark.parametrize("n_tasks", [2, 3])
def test_several_tasks_are_measured_on_the_operands_alone(n_tasks):
    p = 7
    split = MultiTask(["x+y", "x-y", "x*y"][:n_tasks], p).split(0.7)
    model = RFMClassifier(p, n_tasks=n_tasks, iterations=3, ridge=1e-3, dtype="float64")
    plain = model.fit(split.X_train, split.y_train).history_
    measured = model.fit(split.X_train, split.y_train, callbacks=[FeatureMeasures()]).history_
    np.testing.assert_allclose(measured["circulant_deviation"], plain["circulant_deviation"])
    assert measured["effective_rank"][0] == pytest.approx(2 * p + n_tasks - 1)


@pytest.mark.parametrize("operation", ["x+y", "x*y"])
def test_measures_are_those_of_the_analyses(operation):
    M = np.cov(np.random.default_rng(0).normal(size=(26, 40)))
    measured = feature_measures(M, operation, 13)
    block = features.cross_block(M, operation)
    assert measured["circulant_deviation"] == pytest.approx(features.circulant_deviation(block))
    spectrum = np.abs(fourier.block_spectrum(block)) ** 2
    k = np.arange(1, len(block))
    for name, line in (("circulant", spectrum[k, -k]), ("hankel", spectrum[k, k])):
        assert measured[f"{name}_energy"] == pytest.approx(line.sum() / spectrum.sum())
