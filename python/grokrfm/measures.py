"""Measures of the feature matrix that are read while a run goes on, none of which needs its end."""

from __future__ import annotations

from . import features, fourier
from .checks import check_integer
from .history import Round


class FeatureMeasures:
    """Callback that adds measures of structure to the history.

    Columns: circulant_deviation (of the operation's cross block in the better orientation, where
    the loop itself takes the block as it stands); circulant_energy and hankel_energy (share of the
    block's energy on either Fourier line, the constant part left out); participation_ratio (of the
    frequencies on the stronger line, see `fourier.inverse_participation_ratio`); effective_rank (of
    the whole matrix, see `features.effective_rank`). NaN where a block is zero, as in M_0 = I.

    Parameters
    ----------
    operation : str
        Of the task; for "x*y" and "x/y" the block is in the order of discrete logarithms.
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
        if current.iteration % self.every:
            return
        block = features.cross_block(current.feature_matrix, self.operation)
        energies = [fourier.line_energies(block, name) for name in ("circulant", "hankel")]
        on_lines = [float(line[1:].sum()) for line in energies]
        stronger = energies[on_lines[1] > on_lines[0]]
        measured = {
            "circulant_deviation": features.circulant_deviation(block),
            "circulant_energy": on_lines[0],
            "hankel_energy": on_lines[1],
            "participation_ratio": fourier.inverse_participation_ratio(stronger),
            "effective_rank": features.effective_rank(current.feature_matrix),
        }
        current.record.update(measured)
