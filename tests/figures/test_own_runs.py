import numpy as np
import pytest
from grokrfm import groups
from grokrfm.experiments.descriptions import run_together
from grokrfm.figures.controls import RotatedRun
from grokrfm.figures.groups import GroupCirculantRun

TABLE = tuple(map(tuple, groups.abelian(11).tolist()))


@pytest.mark.parametrize(
    "run",
    [
        GroupCirculantRun(table=TABLE, train_fraction=0.8, seed=1),
        RotatedRun(modulus=11, train_fraction=0.8, iterations=3, seed=1),
    ],
    ids=lambda run: type(run).__name__,
)
def test_alone_and_together(run):
    """A batched backend takes runs of a kind several at a time: nothing of theirs is lost."""
    alone, (together,) = run.run(), run_together([run])
    assert alone.keys() == together.keys()
    for name in alone.keys() - {"seconds"}:
        np.testing.assert_array_equal(alone[name], together[name])


def test_random_group_features_generalise():
    """From M = identity nothing is right; random circulant features need no training."""
    run = GroupCirculantRun(table=TABLE, train_fraction=0.9, seed=0)
    plain = RotatedRun(modulus=11, train_fraction=0.9, iterations=0, seed=0)
    assert run.run()["test_accuracy"][0] > 0.5 > plain.run()["test_accuracy"][0]
