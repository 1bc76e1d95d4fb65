"""What is recorded of the features of a Recursive Feature Machine as it runs."""

from __future__ import annotations

from ..analysis import feature_measures
from ..tasks import formula_of
from .run import Round


class FeatureMeasures:
    """Callback that adds `feature_measures` of every M_t to the history of an RFM.

    Its circulant_deviation takes the place of the loop's own, which is of the cross block as it
    stands unless `fit` was given a split.

    Parameters
    ----------
    operation : str, optional
        Of the task, as in `features.cross_block`.

    Raises
    ------
    ValueError
        For an unknown formula.
    """

    def __init__(self, operation: str | None = "x+y") -> None:
        self.operation = formula_of(operation)

    def __call__(self, current: Round) -> None:
        current.record.update(
            feature_measures(current.feature_matrix, self.operation, current.modulus)
        )
