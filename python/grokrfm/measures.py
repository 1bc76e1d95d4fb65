"""Measures of the feature matrix that are read while a run goes on, none of which needs its end."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from . import features, fourier
from .history import Round, Row


def feature_measures(M: NDArray[Any], operation: str, modulus: int) -> Row:
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
    # What is not on a line is the deviation, by Parseval.
    deviation = 1 - max(float(line.sum()) for line in energies.values())
    return {
        "circulant_deviation": deviation if not deviation < 0 else 0.0,
        "circulant_energy": on_lines["circulant"],
        "hankel_energy": on_lines["hankel"],
        "participation_ratio": fourier.inverse_participation_ratio(energies[stronger]),
        "effective_rank": features.effective_rank(M),
    }


class FeatureMeasures:
    """Callback that adds `feature_measures` of every M_t to the history of an RFM.

    Its circulant_deviation takes the place of the loop's own, which is of the cross block as it
    stands.

    Parameters
    ----------
    operation : str
        Of the task.
    """

    def __init__(self, operation: str = "x+y") -> None:
        self.operation = operation

    def __call__(self, current: Round) -> None:
        current.record.update(
            feature_measures(current.feature_matrix, self.operation, current.modulus)
        )
