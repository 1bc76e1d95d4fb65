"""Features of group operations: lines a b⁻¹ = g of a block, its energy in representations."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_one_of
from ..tasks import groups

__all__ = ["coset_share", "isotypic_components", "isotypic_energies", "line_share"]

# Element of the group on which a function of one line is constant, for row x and column y.
LINES = ("x y^-1", "x^-1 y", "x y", "y x")


def line_share(block: ArrayLike, table: ArrayLike, lines: str = "x y^-1") -> float:
    """Share of a block's energy about its mean that depends on one product of x and y alone.

    1 for a group-circulant matrix; 1 − `features.circulant_deviation` of a centred block for a
    cyclic group, whose lines are wrapped diagonals. A random block has about 1/n.

    Parameters
    ----------
    block : array_like, shape (n, n)
        Entry for the elements x of the row and y of the column.
    table : array_like of int, shape (n, n)
        The group's Cayley table.
    lines : {"x y^-1", "x^-1 y", "x y", "y x"}

    Returns
    -------
    float
        NaN for a constant block.

    Raises
    ------
    TypeError, ValueError
        For another shape or name, or a table that is not a group's.
    """
    inverse = groups.inverses(table)
    cells = np.asarray(table)
    check_one_of("lines", lines, LINES)
    number = {
        "x y^-1": cells[:, inverse],
        "x^-1 y": cells[inverse],
        "x y": cells,
        "y x": cells.T,
    }[lines]
    return _share(block, number)


def coset_share(block: ArrayLike, table: ArrayLike) -> float:
    """Share of a block's energy about its mean that depends on the commutator coset of x y⁻¹ alone.

    At most `line_share`, and the same for an abelian group; see `commutator_cosets`.

    Parameters
    ----------
    block : array_like, shape (n, n)
        Entry for the elements x of the row and y of the column.
    table : array_like of int, shape (n, n)
        The group's Cayley table.

    Returns
    -------
    float
        NaN for a constant block.

    Raises
    ------
    TypeError, ValueError
        For another shape, or a table that is not a group's.
    """
    cosets = groups.commutator_cosets(table)
    return _share(block, cosets[np.asarray(table)[:, groups.inverses(table)]])


def _share(block: ArrayLike, number: NDArray[np.int64]) -> float:
    """Share of the energy about the mean of a block's means over entries of the same number."""
    values = np.asarray(block, dtype=np.float64)
    if values.shape != number.shape:
        raise ValueError(f"block: expected shape {number.shape}, got {values.shape}")
    values = values - values.mean()
    total = float((values**2).sum())
    if total == 0:
        return float("nan")
    counts = np.bincount(number.ravel())
    sums = np.bincount(number.ravel(), values.ravel())
    return float((sums**2 / counts).sum() / total)


def isotypic_components(table: ArrayLike) -> list[NDArray[np.float64]]:
    """Orthonormal bases (n, m) of the isotypic components of functions on a group.

    One a real irreducible representation, small ones first, the constant functions before all: m =
    d² for one of dimension d over the complex numbers, 2 d² for a pair of conjugate ones (d² / 4 ·
    4 for a quaternionic one, which is a complex one of dimension d too). Common eigenspaces of the
    sums over conjugacy classes, which commute with all translations (Serre, Linear Representations
    of Finite Groups, § 6.3).

    Raises
    ------
    TypeError, ValueError
        If the table, (n, n), is not that of a group.
    """
    classes, inverse = groups.conjugacy_classes(table), groups.inverses(table)
    n = len(inverse)
    # A random class function, the same for g and g⁻¹, separates the components.
    weights = np.random.default_rng(0).standard_normal(classes.max() + 1)[classes]
    weights = weights + weights[inverse]
    values, vectors = np.linalg.eigh(weights[np.asarray(table)[:, inverse]])
    scale = float(np.abs(values).max())
    starts = np.flatnonzero(np.diff(values, prepend=-np.inf) > 1e-9 * n * scale)
    bases = np.split(vectors, starts[1:], axis=1)
    constant = max(bases, key=lambda basis: float(np.abs(basis.sum(axis=0)).max()))
    return sorted(bases, key=lambda basis: (basis is not constant, basis.shape[1]))


def isotypic_energies(blocks: ArrayLike, table: ArrayLike) -> NDArray[np.float64]:
    """Shares of blocks' energies whose rows and columns lie in one component of each, (…, k).

    In the order of `isotypic_components`; for an abelian group they sum to 1 if the block is a
    function of x y⁻¹ or of x y. The rest couples different components.

    Parameters
    ----------
    blocks : array_like, shape (…, n, n)
    table : array_like of int, shape (n, n)

    Raises
    ------
    TypeError, ValueError
        For another shape, or a table that is not a group's.
    """
    values, n = np.asarray(blocks, dtype=np.float64), len(np.asarray(table))
    if values.shape[-2:] != (n, n):
        raise ValueError(f"blocks: expected shape (…, {n}, {n}), got {values.shape}")
    energies = [
        ((basis.T @ values @ basis) ** 2).sum(axis=(-2, -1)) for basis in isotypic_components(table)
    ]
    total = np.maximum((values**2).sum(axis=(-2, -1)), np.finfo(float).tiny)
    shares: NDArray[np.float64] = np.stack(energies, axis=-1) / total[..., None]
    return shares
