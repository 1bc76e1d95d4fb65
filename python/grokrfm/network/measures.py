"""What is recorded of the features of a network as it trains."""

from __future__ import annotations

import numpy as np

from ..analysis import feature_correlation, feature_measures
from ..analysis.features import circulant_deviation, cross_block
from ..checks import check_integer
from ..tasks import formula_of
from .epochs import Epoch


class NetworkMeasures:
    """Callback of `FCNClassifier.fit` that measures the features of the network.

    Columns of the history: `analysis.feature_measures` of √AGOP, its circulant deviation in either
    orientation too, circulant_deviation_circulant and circulant_deviation_hankel; agop_trace;
    nfm_correlation and nfm_correlation_off_diagonal between NFM and √AGOP. √AGOP itself is kept in
    `matrices_["feature_matrix"]`, and feature_alignment becomes its cosine with the last one.

    Parameters
    ----------
    operation : str, optional
        Of the task, as in `features.cross_block`: for "x*y" and "x/y" the cross block is in the
        order of discrete logarithms.
    every : int
        Epochs from one measurement to the next; the last epoch is measured too.

    Raises
    ------
    TypeError, ValueError
        If `every` is not a positive integer, or for an unknown formula.
    """

    def __init__(self, operation: str | None = "x+y", every: int = 1) -> None:
        self.operation = formula_of(operation)
        self.every = check_integer("every", every, minimum=1)

    def __call__(self, current: Epoch) -> None:
        if current.epoch % self.every and current.epoch < current.epochs:
            return
        matrix = current.network.feature_matrix()
        nfm = current.network.neural_feature_matrix()
        block = cross_block(matrix, self.operation)
        current.record.update(
            feature_measures(matrix, self.operation, len(matrix) // 2),
            circulant_deviation_circulant=circulant_deviation(block, "circulant"),
            circulant_deviation_hankel=circulant_deviation(block, "hankel"),
            agop_trace=float((matrix.astype(np.float64) ** 2).sum()),
            nfm_correlation=feature_correlation(nfm, matrix),
            nfm_correlation_off_diagonal=feature_correlation(nfm, matrix, diagonal=False),
        )
        current.keep("feature_matrix", matrix)
