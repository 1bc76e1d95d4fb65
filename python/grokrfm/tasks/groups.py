"""Finite groups by their Cayley tables, for `ModularTask.from_table`.

A table holds at [i, j] the number of the product of the elements i and j; the neutral element has
number 0 in all tables made here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..checks import check_integer, check_integer_array
from .formulas import IntArray

__all__ = [
    "abelian",
    "alternating",
    "commutator_cosets",
    "conjugacy_classes",
    "dihedral",
    "direct_product",
    "heisenberg",
    "inverses",
    "quaternion",
    "symmetric",
]


def abelian(*orders: int) -> IntArray:
    """Z_m × Z_n × …, elements in lexicographic order.

    Parameters
    ----------
    *orders : int
        Of the cyclic factors, one at least, each ≥ 1.

    Returns
    -------
    ndarray of int64, shape (n, n)
        n is the product of the orders.
    """
    if not orders:
        raise ValueError("orders: expected one at least, got none")
    for order in orders:
        check_integer("orders", order, minimum=1)
    elements = list(product(*(range(order) for order in orders)))
    return _table(
        elements, lambda x, y: tuple((a + b) % m for a, b, m in zip(x, y, orders, strict=True))
    )


def dihedral(n: int) -> IntArray:
    """The symmetries of a regular n-gon, 2n of them: r^k has number k, r^k s has number n + k."""
    check_integer("n", n, minimum=1)
    elements = [(k, f) for f in (0, 1) for k in range(n)]
    return _table(elements, lambda x, y: ((x[0] + (-1) ** x[1] * y[0]) % n, (x[1] + y[1]) % 2))


def symmetric(n: int) -> IntArray:
    """All n! permutations of n things in lexicographic order; the right factor comes first."""
    check_integer("n", n, minimum=1, maximum=6)
    return _table(list(permutations(range(n))), _compose)


def alternating(n: int) -> IntArray:
    """The even permutations of n things in lexicographic order; the right factor comes first."""
    check_integer("n", n, minimum=2, maximum=6)
    even = [
        each
        for each in permutations(range(n))
        if sum(each[i] > each[j] for j in range(n) for i in range(j)) % 2 == 0
    ]
    return _table(even, _compose)


def quaternion() -> IntArray:
    """The quaternion group: 1, i, j, k, −1, −i, −j, −k."""
    unit = ((0, 1, 2, 3), (1, 4, 3, 6), (2, 7, 4, 1), (3, 2, 5, 4))  # of 1, i, j, k; + 4 is −
    return np.array(
        [[(unit[x % 4][y % 4] + 4 * (x // 4 + y // 4)) % 8 for y in range(8)] for x in range(8)]
    )


def heisenberg(p: int) -> IntArray:
    """Upper triangular 3 × 3 matrices over Z_p with ones on the diagonal, p³ of them."""
    check_integer("p", p, minimum=2, maximum=9)
    return _table(
        list(product(range(p), repeat=3)),
        lambda x, y: (
            (x[0] + y[0]) % p,
            (x[1] + y[1]) % p,
            (x[2] + y[2] + x[0] * y[1]) % p,
        ),
    )


def direct_product(first: ArrayLike, second: ArrayLike) -> IntArray:
    """The pairs of elements of two groups, m of the second: (x, y) has number x m + y.

    Raises
    ------
    TypeError, ValueError
        If a table, (n, n), is not that of a group.
    """
    one, other = _check_group(first), _check_group(second)
    m = len(other)
    x, y = np.divmod(np.arange(len(one) * m), m)
    table: IntArray = one[np.ix_(x, x)] * m + other[np.ix_(y, y)]
    return table


def inverses(table: ArrayLike) -> IntArray:
    """Number of each element's inverse, (n,).

    Raises
    ------
    TypeError, ValueError
        If the table, (n, n), is not that of a group.
    """
    return _inverses(_check_group(table))


def conjugacy_classes(table: ArrayLike) -> IntArray:
    """Number of each element's conjugacy class, (n,), from 0 on in the order of their first one.

    Raises
    ------
    TypeError, ValueError
        If the table, (n, n), is not that of a group.
    """
    checked = _check_group(table)
    inverse = _inverses(checked)
    # The least conjugate of each element stands for its class.
    least = checked[checked, inverse[:, None]].min(axis=0)
    numbers: IntArray = np.unique(least, return_inverse=True)[1]
    return numbers


def commutator_cosets(table: ArrayLike) -> IntArray:
    """Number of each element's coset of the commutator subgroup, (n,), from 0 on.

    That is its image in the largest abelian quotient of the group, the abelianisation; numbers are
    in the order of the cosets' first elements.

    Raises
    ------
    TypeError, ValueError
        If the table, (n, n), is not that of a group.
    """
    checked = _check_group(table)
    inverse = _inverses(checked)
    # x y x⁻¹ y⁻¹ of all pairs, then products until there are no new ones
    subgroup = np.unique(checked[checked, checked[np.ix_(inverse, inverse)]])
    while len(larger := np.unique(checked[np.ix_(subgroup, subgroup)])) > len(subgroup):
        subgroup = larger
    numbers: IntArray = np.unique(checked[:, subgroup].min(axis=1), return_inverse=True)[1]
    return numbers


def _table(elements: Sequence[Hashable], multiply: Callable[[Any, Any], Hashable]) -> IntArray:
    number = {element: i for i, element in enumerate(elements)}
    return np.array([[number[multiply(x, y)] for y in elements] for x in elements])


def _compose(x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x[i] for i in y)


def _check_group(table: ArrayLike) -> IntArray:
    checked = check_integer_array("table", table, ndim=2)
    n = len(checked)
    if checked.shape != (n, n) or n == 0:
        raise ValueError(f"table: expected shape (n, n), got {checked.shape}")
    own = np.arange(n)
    for axis in (0, 1):
        if (np.sort(checked, axis=axis) != (own[:, None] if axis == 0 else own)).any():
            raise ValueError("table: expected every element once in each row and column")
    _neutral(checked)
    # (x y) z = x (y z), an x at a time
    if any((checked[row] != row[checked]).any() for row in checked):
        raise ValueError("table: expected an associative product")
    return checked


def _inverses(table: IntArray) -> IntArray:
    numbers: IntArray = np.argmax(table == _neutral(table), axis=1)
    return numbers


def _neutral(table: IntArray) -> int:
    own = np.arange(len(table))
    rows, columns = (table == own).all(axis=1), (table == own[:, None]).all(axis=0)
    found = np.flatnonzero(rows & columns)
    if not len(found):
        raise ValueError("table: expected a neutral element, got none")
    return int(found[0])
