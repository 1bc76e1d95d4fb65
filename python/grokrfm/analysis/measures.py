"""Measures of feature matrices, to be read while a run goes on: none of them needs its end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import features, fourier


def feature_measures(M: NDArray[Any], operation: str | None, modulus: int) -> dict[str, float]:
    """Measures of structure of a feature matrix (d, d), whose first 2p rows are the operands'.

    circulant_deviation (of the operation's cross block in the better orientation); circulant_energy
    and hankel_energy (share of the block's energy on either Fourier line, the constant part left
    out); participation_ratio (of the frequencies on the stronger line, see
    `fourier.inverse_participation_ratio`); effective_rank (of the whole matrix, see
    `features.effective_rank`). NaN where a block is zero, as in M_0 = I. For "x*y" and "x/y" the
    block is in the order of discrete logarithms.
    """
    block = features.cross_block(M[: 2 * modulus, : 2 * modulus], operation)
    energies = {name: fourier.line_energies(block, name) for name in ("circulant", "hankel")}
    on_lines = {name: float(line[1:].sum()) for name, line in energies.items()}
    stronger = max(energies, key=lambda name: on_lines[name])
    return {
        "circulant_deviation": features.circulant_deviation(block),
        "circulant_energy": on_lines["circulant"],
        "hankel_energy": on_lines["hankel"],
        "participation_ratio": fourier.inverse_participation_ratio(energies[stronger]),
        "effective_rank": features.effective_rank(M),
    }


def feature_correlation(A: ArrayLike, B: ArrayLike, diagonal: bool = True) -> float:
    """Pearson correlation of the entries of two matrices; NaN if one of them is constant.

    Parameters
    ----------
    A, B : array_like, shape (d, d)
        Such as the NFM and √AGOP, whose proportionality is the Neural Feature Ansatz.
    diagonal : bool
        Whether diagonal entries take part. At d = 122 they alone give .98 at initialisation.

    Raises
    ------
    ValueError
        If the shapes differ or are not square.
    """
    a, b = np.asarray(A, dtype=np.float64), np.asarray(B, dtype=np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or a.shape != b.shape:
        raise ValueError(f"A, B: expected two (d, d) matrices, got shapes {a.shape} and {b.shape}")
    if not diagonal:
        off = ~np.eye(len(a), dtype=bool)
        a, b = a[off], b[off]
    a, b = a - a.mean(), b - b.mean()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b)) / norms if norms > 0 else float("nan")
