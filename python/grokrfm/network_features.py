"""What a network has learnt: NFM, AGOP, the Neural Feature Ansatz; recorded as it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import network_arrays
from .array_operations import ArrayOperations
from .checks import check_integer
from .features import circulant_deviation, cross_block
from .history import Checkpoint
from .measures import feature_measures
from .network_arrays import Network


class TrainedNetwork:
    """A network at one moment and its training inputs: weights, outputs and feature matrices.

    Feature matrices are taken over the training inputs and, with an `input_transform`, with respect
    to the transformed inputs. All results are NumPy arrays in the dtype of the run.
    """

    def __init__(
        self,
        operations: ArrayOperations,
        activation: str,
        inputs: Any,
        transform: Any,
        network: Network,
    ) -> None:
        self._operations, self._activation, self._network = operations, activation, network
        self._inputs, self._transform = inputs, transform

    @property
    def _rows(self) -> Any:
        return self._operations.network_inputs(self._network, self._inputs, self._transform)

    def weights(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """W₁ (h, 2p) and W₂ (c, h)."""
        network, to_numpy = self._network, self._operations.to_numpy
        return to_numpy(network.first).T.copy(), to_numpy(network.second).copy()

    def outputs(self, inputs: Any) -> NDArray[Any]:
        """Outputs (n, c) on active indices (n, 2)."""
        if len(inputs) == 0:
            second = self._network.second
            return np.empty((0, len(second)), second.dtype)
        return self._operations.to_numpy(
            self._operations.network_outputs(
                self._activation, self._network, inputs, self._transform
            )
        )

    def neural_feature_matrix(self) -> NDArray[Any]:
        """NFM = W₁ᵀ W₁, (2p, 2p)."""
        first = self._network.first
        return self._operations.to_numpy(first @ first.T)

    def agop(self) -> NDArray[Any]:
        """AGOP = 1/n Σ_j J_j J_jᵀ, uncentred, (2p, 2p).

        About 2h²(n + c + 2p) flops and three h × h arrays.
        """
        return self._operations.to_numpy(
            network_arrays.agop(self._activation, self._network, self._rows)
        )

    def class_agops(self) -> NDArray[Any]:
        """AGOP of each output alone, (c, 2p, 2p); they sum to `agop`."""
        return self._operations.to_numpy(
            network_arrays.class_agops(
                self._operations.xp, self._activation, self._network, self._rows
            )
        )

    def feature_matrix(self) -> NDArray[Any]:
        """√AGOP, (2p, 2p), by which the paper measures networks."""
        operations = self._operations
        G = network_arrays.agop(self._activation, self._network, self._rows)
        return operations.to_numpy(operations.matrix_power(G, 0.5))


@dataclass(frozen=True)
class Epoch:
    """What a callback of `FCNClassifier.fit` sees after each epoch.

    Attributes
    ----------
    epoch : int
        t: the network after t epochs; 0 is the initial one.
    epochs : int
        The number of epochs asked for.
    record : dict of str to float
        The new row of the history. What a callback adds becomes a column of `history_`, NaN in the
        rows without it.
    network : TrainedNetwork
        Weights, outputs, NFM and AGOP.
    keep : callable
        keep(name, array) adds an array to `matrices_[name]`, its epoch to `matrix_epochs_[name]`.
    checkpoint : callable
        Returns arrays from which `FCNClassifier.fit` goes on after this epoch to the same history
        as if it had never stopped.
    """

    epoch: int
    epochs: int
    record: dict[str, float]
    network: TrainedNetwork
    keep: Callable[[str, NDArray[Any]], None]
    checkpoint: Callable[[], Checkpoint]


EpochCallback = Callable[[Epoch], object]


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


class NetworkMeasures:
    """Callback of `FCNClassifier.fit` that measures the features of the network.

    Columns of the history: `measures.feature_measures` of √AGOP, its circulant deviation in either
    orientation too, circulant_deviation_circulant and circulant_deviation_hankel; agop_trace;
    nfm_correlation and nfm_correlation_off_diagonal between NFM and √AGOP. √AGOP itself is kept in
    `matrices_["feature_matrix"]`, and feature_alignment becomes its cosine with the last one.

    Parameters
    ----------
    operation : str
        Of the task; for "x*y" and "x/y" the cross block is in the order of discrete logarithms.
    every : int
        Epochs from one measurement to the next; the last epoch is measured too.

    Raises
    ------
    TypeError, ValueError
        If `every` is not a positive integer.
    """

    def __init__(self, operation: str = "x+y", every: int = 1) -> None:
        self.operation = operation
        self.every = check_integer("every", every, minimum=1)

    def __call__(self, current: Epoch) -> None:
        if current.epoch % self.every and current.epoch < current.epochs:
            return
        features = current.network.feature_matrix()
        nfm = current.network.neural_feature_matrix()
        block = cross_block(features, self.operation)
        current.record.update(
            feature_measures(features, self.operation, len(features) // 2),
            circulant_deviation_circulant=circulant_deviation(block, "circulant"),
            circulant_deviation_hankel=circulant_deviation(block, "hankel"),
            agop_trace=float((features.astype(np.float64) ** 2).sum()),
            nfm_correlation=feature_correlation(nfm, features),
            nfm_correlation_off_diagonal=feature_correlation(nfm, features, diagonal=False),
        )
        current.keep("feature_matrix", features)
