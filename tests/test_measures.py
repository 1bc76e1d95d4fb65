import numpy as np
import pytest
from grokrfm import FeatureMeasures, ModularTask, RFMClassifier, features

COLUMNS = ("circulant_energy", "hankel_energy", "participation_ratio", "effective_rank")


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


def test_every_few_rounds():
    split = ModularTask("x+y", 11).split(0.6)
    model = RFMClassifier(11, iterations=6)
    model.fit(split.X_train, split.y_train, callbacks=[FeatureMeasures(every=3)])
    for column in COLUMNS:
        measured = np.isfinite(model.history_[column])
        assert set(np.flatnonzero(measured)) <= {0, 3, 6} and measured[[3, 6]].all()


def test_bad_interval():
    with pytest.raises(ValueError, match="every: expected an integer >= 1, got 0"):
        FeatureMeasures(every=0)
