import numpy as np
import pytest
from grokrfm import groups
from grokrfm.experiments.descriptions import run_together
from grokrfm.figures.abelian import CosetRun
from grokrfm.figures.controls import RotatedRun
from grokrfm.figures.groups import GroupCirculantRun

TABLE = tuple(map(tuple, groups.abelian(11).tolist()))


@pytest.mark.parametrize(
    "run",
    [
        GroupCirculantRun(table=TABLE, train_fraction=0.8, seed=1),
        RotatedRun(modulus=11, train_fraction=0.8, iterations=3, seed=1),
        CosetRun(table=TABLE, train_fraction=0.8, iterations=3, seed=1),
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


def coset_run(table, **given):
    found = CosetRun(table=tuple(map(tuple, table.tolist())), **given).run()
    names = ("test_accuracy", "coset_accuracy", "control_accuracy", "line_share", "coset_share")
    return [float(found[name][-1]) for name in names]


def test_cosets_of_abelian_and_perfect_groups():
    """The commutator subgroup is trivial, or the whole group."""
    right, cosets, control, line, coset = coset_run(groups.abelian(11), train_fraction=0.8)
    assert right == cosets == control and line == coset
    right, cosets, control, line, coset = coset_run(
        groups.alternating(5), train_fraction=0.5, iterations=2
    )
    assert cosets == control == 1 and right < 0.1 and coset < 1e-9 < line < 1


def test_the_abelian_quotient_is_learnt_first():
    right, cosets, control, _, coset = coset_run(
        groups.direct_product(groups.symmetric(3), groups.abelian(6)), train_fraction=0.6
    )
    assert cosets > 0.8 > right and control < 0.5 < coset
