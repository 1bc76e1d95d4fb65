"""A network at one moment of its training: weights, outputs, NFM and AGOP."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_labels
from ..operations import (
    FittedBackend,
    Network,
    network_agop,
    network_class_agops,
    network_fact,
    network_rows,
)


class TrainedNetwork:
    """A network at one moment and its training inputs: weights, outputs and feature matrices.

    Feature matrices are taken over the training inputs and, with an `input_transform`, with respect
    to the transformed inputs. All results are NumPy arrays in the dtype of the run. Copied and
    pickled without the state of the optimiser, which belongs to the training. The same bits come
    out during the training and after it: BLAS has one thread here.
    """

    def __init__(
        self,
        backend: FittedBackend,
        activation: str,
        inputs: Any,
        transform: Any,
        network: Network,
    ) -> None:
        self._backend, self._activation, self._network = backend, activation, network
        self._operations = backend.operations
        self._inputs, self._transform = inputs, transform

    @classmethod
    def from_host(
        cls,
        backend: FittedBackend,
        activation: str,
        inputs: NDArray[np.int32],
        transform: NDArray[Any] | None,
        first: NDArray[Any],
        second: NDArray[Any],
    ) -> TrainedNetwork:
        """Return the network of W₁ (h, 2p) and W₂ (c, h), with T (2p, 2p), on the backend."""
        asarray, dtype = backend.operations.device.asarray, first.dtype
        network = Network(asarray(first.T, dtype), asarray(second, dtype))
        seen = None if transform is None else asarray(transform.T, dtype)
        return cls(backend, activation, asarray(inputs, np.int32), seen, network)

    def __reduce__(self) -> tuple[Any, ...]:
        inputs = self._operations.device.to_numpy(self._inputs)
        how = (self._backend, self._activation, inputs, self.transform(), *self.weights())
        return TrainedNetwork.from_host, how

    @property
    def _rows(self) -> Any:
        xp = self._operations.device.xp
        return network_rows(xp, self._network, self._inputs, self._transform)

    def weights(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """W₁ (h, 2p) and W₂ (c, h)."""
        network, to_numpy = self._network, self._operations.device.to_numpy
        return to_numpy(network.first).T.copy(), to_numpy(network.second).copy()

    def transform(self) -> NDArray[Any] | None:
        """T (2p, 2p), where the network sees T x."""
        seen = self._transform
        return None if seen is None else self._operations.device.to_numpy(seen).T.copy()

    def outputs(self, inputs: Any) -> NDArray[Any]:
        """Outputs (n, c) on active indices (n, 2)."""
        if len(inputs) == 0:
            second = self._network.second
            return np.empty((0, len(second)), second.dtype)
        return self._operations.device.to_numpy(
            self._operations.network_outputs(
                self._activation, self._network, inputs, self._transform
            )
        )

    def neural_feature_matrix(self) -> NDArray[Any]:
        """NFM = W₁ᵀ W₁, (2p, 2p)."""
        first = self._network.first
        with self._operations.device.own_threads():
            return self._operations.device.to_numpy(first @ first.T)

    def agop(self) -> NDArray[Any]:
        """AGOP = 1/n Σ_j J_j J_jᵀ, uncentred, (2p, 2p).

        About 2h²(n + c + 2p) flops and three h × h arrays.
        """
        with self._operations.device.own_threads():
            return self._operations.device.to_numpy(
                network_agop(self._activation, self._network, self._rows)
            )

    def class_agops(self) -> NDArray[Any]:
        """AGOP of each output alone, (c, 2p, 2p); they sum to `agop`."""
        xp = self._operations.device.xp
        with self._operations.device.own_threads():
            return self._operations.device.to_numpy(
                network_class_agops(xp, self._activation, self._network, self._rows)
            )

    def fact(self, labels: ArrayLike) -> NDArray[Any]:
        """−Σ_j ∇ℓ_j x_jᵀ of half the squared errors over the training inputs, (2p, 2p).

        The Features at Convergence Theorem (arXiv 2507.05644): by n λ it is the NFM where a
        training with weight decay λ has come to its end.

        Parameters
        ----------
        labels : array_like of int, shape (n,)
            Classes of the training pairs, 0…c−1.

        Raises
        ------
        TypeError, ValueError
            For other labels.
        """
        count, c = len(self._inputs), len(self._network.second)
        device = self._operations.device
        y = device.asarray(check_labels("labels", labels, count, c), np.int64)
        with device.own_threads():
            return device.to_numpy(
                network_fact(device.xp, self._activation, self._network, self._rows, y)
            )

    def feature_matrix(self) -> NDArray[Any]:
        """√AGOP, (2p, 2p), by which the paper measures networks; computed once, read-only."""
        return self._root

    @cached_property
    def _root(self) -> NDArray[Any]:
        operations = self._operations
        with operations.device.own_threads():
            G = network_agop(self._activation, self._network, self._rows)
            root = operations.device.to_numpy(operations.matrix_power(G, 0.5))
        root.flags.writeable = False
        return root
