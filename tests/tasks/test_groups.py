import numpy as np
import pytest
from grokrfm import groups

# name -> table, order, sizes of the conjugacy classes
KNOWN = {
    "Z1": (groups.abelian(1), [1]),
    "Z6": (groups.abelian(6), [1] * 6),
    "Z2 x Z3": (groups.abelian(2, 3), [1] * 6),
    "D1": (groups.dihedral(1), [1, 1]),
    "D5": (groups.dihedral(5), [1, 2, 2, 5]),
    "D6": (groups.dihedral(6), [1, 1, 2, 2, 3, 3]),
    "S3": (groups.symmetric(3), [1, 2, 3]),
    "S5": (groups.symmetric(5), [1, 10, 15, 20, 20, 24, 30]),
    "A4": (groups.alternating(4), [1, 3, 4, 4]),
    "A5": (groups.alternating(5), [1, 12, 12, 15, 20]),
    "Q8": (groups.quaternion(), [1, 1, 2, 2, 2]),
    "Heisenberg 3": (groups.heisenberg(3), [1] * 3 + [3] * 8),
}


@pytest.mark.parametrize("name", KNOWN)
def test_classes_and_inverses(name):
    table, sizes = KNOWN[name]
    own, inverse = np.arange(len(table)), groups.inverses(table)
    np.testing.assert_array_equal(table[0], own)  # 0 is neutral
    np.testing.assert_array_equal(table[own, inverse], 0)
    np.testing.assert_array_equal(table[inverse, own], 0)
    classes = groups.conjugacy_classes(table)
    assert sorted(np.bincount(classes)) == sizes
    for x in own:  # by the definition
        np.testing.assert_array_equal(classes[table[table[own, x], inverse]], classes[x])


# Orders of the abelianisations, from the literature
ABELIAN = {
    "Z1": 1,
    "Z6": 6,
    "Z2 x Z3": 6,
    "D1": 2,
    "D5": 2,
    "D6": 4,
    "S3": 2,
    "S5": 2,
    "A4": 3,
    "A5": 1,
    "Q8": 4,
    "Heisenberg 3": 9,
}


@pytest.mark.parametrize("name", KNOWN)
def test_commutator_cosets_multiply_as_an_abelian_group(name):
    table = KNOWN[name][0]
    cosets = groups.commutator_cosets(table)
    assert set(np.bincount(cosets)) == {len(table) // ABELIAN[name]}
    quotient = np.full((ABELIAN[name],) * 2, -1)
    quotient[np.ix_(cosets, cosets)] = cosets[table]
    np.testing.assert_array_equal(cosets[table], quotient[np.ix_(cosets, cosets)])
    np.testing.assert_array_equal(quotient, quotient.T)
    first = [np.flatnonzero(cosets == i)[0] for i in range(cosets.max() + 1)]
    assert first == sorted(first)


def test_direct_products():
    np.testing.assert_array_equal(
        groups.direct_product(groups.abelian(2), groups.abelian(3)), groups.abelian(2, 3)
    )
    both = groups.direct_product(groups.symmetric(3), groups.abelian(4))
    classes = groups.conjugacy_classes(both)
    assert sorted(np.bincount(classes)) == [1] * 4 + [2] * 4 + [3] * 4
    with pytest.raises(ValueError, match="neutral"):
        groups.direct_product(groups.abelian(2), [[1, 0, 2], [2, 1, 0], [0, 2, 1]])


def test_quaternions():
    table = groups.quaternion()
    i, j, k, minus = 1, 2, 3, 4
    assert [table[x, x] for x in (i, j, k)] == [minus] * 3
    assert table[i, j] == k and table[j, i] == k + 4
    assert table[j, k] == i and table[k, i] == j


def test_the_right_factor_comes_first():
    # (0 1) after (1 2) takes 2 to 0: the permutation (1, 2, 0)
    names = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    table = groups.symmetric(3)
    assert names[table[names.index((1, 0, 2)), names.index((0, 2, 1))]] == (1, 2, 0)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([[0, 1]], "shape"),
        ([[0, 1], [0, 1]], "once in each row and column"),
        ([[1, 0, 2], [2, 1, 0], [0, 2, 1]], "neutral"),
        # a Latin square with a neutral element whose product is not associative
        (
            [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]],
            "associative",
        ),
    ],
)
def test_what_is_not_a_group_is_refused(table, words):
    for function in (
        groups.inverses,
        groups.commutator_cosets,
        groups.conjugacy_classes,
        groups.isotypic_components,
    ):
        with pytest.raises(ValueError, match=words):
            function(table)


def test_bad_orders():
    for make in (groups.dihedral, groups.symmetric, groups.alternating, groups.heisenberg):
        with pytest.raises((TypeError, ValueError), match="expected"):
            make(0)
        with pytest.raises(TypeError, match="expected"):
            make(2.5)
    with pytest.raises(ValueError, match="one at least"):
        groups.abelian()
