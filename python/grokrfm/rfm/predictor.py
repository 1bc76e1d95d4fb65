"""What a fitted Recursive Feature Machine tells: outputs and AGOPs of one predictor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..operations import Operations
from ..tasks import pair_indices
from .rounds import Settings


@dataclass(frozen=True)
class Predictor:
    """A feature matrix M and the dual coefficients solved with it, all on the host.

    Pairs come checked; results are NumPy arrays in the dtype of the run.
    """

    settings: Settings
    operations: Operations
    train: NDArray[np.int64]
    feature_matrix: NDArray[Any]
    dual_coefficients: NDArray[Any]

    def _on_device(self, array: NDArray[Any]) -> Any:
        return self.operations.device.asarray(array, self.settings.dtype)

    def _inputs(self, pairs: NDArray[np.int64]) -> Any:
        indices = pair_indices(pairs, self.settings.modulus)
        return self.operations.device.asarray(indices, np.int32)

    def outputs(self, pairs: NDArray[np.int64]) -> NDArray[Any]:
        """f_c(x), (m, c)."""
        if len(pairs) == 0:
            return np.empty((0, self.settings.n_classes), self.settings.dtype)
        outputs = self.operations.decision_function(
            self.settings.kernel,
            self._on_device(self.feature_matrix),
            self._inputs(pairs),
            self._inputs(self.train),
            self._on_device(self.dual_coefficients),
        )
        return self.operations.device.to_numpy(outputs)

    def class_agops(self, classes: Sequence[int]) -> NDArray[Any]:
        """AGOP of each of these outputs alone, (len(classes), d, d)."""
        M, train = self._on_device(self.feature_matrix), self._inputs(self.train)
        agops = np.empty((len(classes), *M.shape), self.settings.dtype)
        for agop, label in zip(agops, classes, strict=True):
            column = self._on_device(self.dual_coefficients[:, [label]])
            agop[...] = self.operations.device.to_numpy(
                self.operations.agop(self.settings.kernel, M, train, column, self.settings.centred)
            )
        return agops
