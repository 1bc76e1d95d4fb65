"""Measures of the feature matrix that are read while a run goes on, none of which needs its end."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from . import features, fourier
from .checks import check_integer
from .history import Round, Row


def feature_measures(M: NDArray[Any], operation: str) -> Row:
    """Measures of structure of a feature matrix (2p, 2p).

    circulant_deviation (of the operation's cross block in the better orientation); circulant_energy
    and hankel_energy (share of the block's energy on either Fourier line, the constant part left
    out); participation_ratio (of the frequencies on the stronger line, see
    `fourier.inverse_participation_ratio`); effective_rank (of the whole matrix, see
    `features.effective_rank`). NaN where a block is zero, as in M_0 = I. For "x*y" and "x/y" the
    block is in the order of discrete logarithms.
    """
    block = features.cross_block(M, operation)
    energies = [fourier.line_energies(block, name) for name in ("circulant", "hankel")]
    on_lines = [float(line[1:].sum()) for line in energies]
    stronger = energies[on_lines[1] > on_lines[0]]
    return {
        "circulant_deviation": features.circulant_deviation(block),
        "circulant_energy": on_lines[0],
        "hankel_energy": on_lines[1],
        "participation_ratio": fourier.inverse_participation_ratio(stronger),
        "effective_rank": features.effective_rank(M),
    }


class FeatureMeasures:
    """Callback that adds `feature_measures` of M_t to the history of an RFM.

    The loop's own circulant_deviation takes the cross block as it stands.

    Parameters
    ----------
    operation : str
        Of the task.
    every : int
        Rounds from one measurement to the next; the rounds between hold NaN, except for
        circulant_deviation.

    Raises
    ------
    TypeError, ValueError
        If `every` is not a positive integer.
    """

    def __init__(self, operation: str = "x+y", every: int = 1) -> None:
        self.operation = operation
        self.every = check_integer("every", every, minimum=1)

    def __call__(self, current: Round) -> None:
        if current.iteration % self.every == 0:
            current.record.update(feature_measures(current.feature_matrix, self.operation))
