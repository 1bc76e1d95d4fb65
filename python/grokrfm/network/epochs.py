"""The training loop: epochs, what callbacks see of them, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.features import alignment
from ..operations import FittedBackend, Network, Operations, Training
from ..tasks import PairData, pair_indices
from ..training import (
    Checkpoint,
    Row,
    Scores,
    any_stops,
    check_checkpoint,
    closing,
    fingerprint,
    pack,
    score_columns,
    scores_of_outputs,
    unpack_array,
    unpack_rows,
)
from .trained import TrainedNetwork


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
    memory : int
        Bytes that the training takes at most.
    keep : callable
        keep(name, array) adds a copy of an array to `matrices_[name]`, its epoch to
        `matrix_epochs_[name]`.
    checkpoint : callable
        Returns arrays from which `FCNClassifier.fit` goes on after this epoch to the same history
        as if it had never stopped.
    """

    epoch: int
    epochs: int
    record: dict[str, float]
    network: TrainedNetwork
    memory: int
    keep: Callable[[str, NDArray[Any]], None]
    checkpoint: Callable[[], Checkpoint]


EpochCallback = Callable[[Epoch], object]


@dataclass
class TrainingRun:
    """A network in training: its data, callbacks and state, and the epochs that are complete.

    Attributes
    ----------
    transform : ndarray, shape (2p, 2p), or None
        T, where the network sees T x.
    network : Network
        After the last complete epoch; NumPy arrays before the first.
    memory : int
        Bytes that the training takes at most.
    rows : list of Row
        Of the complete epochs.
    kept : dict
        What callbacks kept: name -> epoch -> array.
    trained : TrainedNetwork
        The network after the last complete epoch; None before the first.
    """

    data: PairData
    training: Training
    epochs: int
    seed: int
    callbacks: tuple[EpochCallback, ...]
    transform: NDArray[np.float64] | None
    network: Network
    memory: int
    rows: list[Row] = field(default_factory=list)
    kept: dict[str, dict[int, NDArray[Any]]] = field(default_factory=dict)
    trained: TrainedNetwork | None = None

    def restore(self, checkpoint: Mapping[str, NDArray[Any]]) -> None:
        """Go on after the epoch of a checkpoint.

        Raises
        ------
        ValueError
            If it is another run's, or has too many epochs.
        """
        check_checkpoint(checkpoint, self._fingerprint())
        first, second, *moments = (
            unpack_array(checkpoint, name, array.shape, array.dtype)
            for name, array in _named(self.network).items()
        )
        self.rows = unpack_rows(checkpoint)
        steps_an_epoch = -(-len(self.data.train) // self.training.batch_size)
        steps = (len(self.rows) - 1) * steps_an_epoch
        self.network = Network(first, second, tuple(moments), steps)
        for key, epochs in checkpoint.items():
            if key.startswith("matrix_epochs/"):
                name = key.removeprefix("matrix_epochs/")
                arrays = zip(epochs, checkpoint[f"matrices/{name}"], strict=True)
                self.kept[name] = {int(t): array for t, array in arrays}
        if len(self.rows) - 1 > self.epochs:
            raise ValueError(
                f"checkpoint: expected one of a run with at least {len(self.rows) - 1} epochs, "
                f"got epochs={self.epochs}"
            )

    def checkpoint(self, operations: Operations) -> Checkpoint:
        """Return everything from which the run goes on after its last row."""
        to_numpy = operations.device.to_numpy
        arrays = _named(self.network.map(lambda array: np.array(to_numpy(array))))
        for name, of_epochs in self.kept.items():
            arrays[f"matrices/{name}"] = np.stack(list(of_epochs.values()))
            arrays[f"matrix_epochs/{name}"] = np.array(list(of_epochs))
        return pack(self.rows, arrays, self._fingerprint())

    def _fingerprint(self) -> str:
        """What checkpoints belong to: the run may go on for more epochs."""
        shapes = [(array.shape, str(array.dtype)) for array in _named(self.network).values()]
        return fingerprint(
            self.data,
            {
                **asdict(self.training),
                "seed": self.seed,
                "shapes": shapes,
                "transform": None if self.transform is None else self.transform.tobytes(),
            },
        )


def _named(network: Network) -> Checkpoint:
    moments = {f"moment/{k}": moment for k, moment in enumerate(network.moments)}
    return {"first": network.first, "second": network.second, **moments}


def train(backend: FittedBackend, run: TrainingRun) -> None:
    """Take a network through its epochs; whatever ends them, complete ones stay in the run."""
    with closing(run.callbacks), backend.operations.device.own_threads():
        try:
            _iterate(backend, run)
        finally:
            measured = run.kept.get("feature_matrix", {})
            for t, matrix in measured.items():
                run.rows[t]["feature_alignment"] = alignment(matrix, measured[max(measured)])


def _iterate(backend: FittedBackend, run: TrainingRun) -> None:
    operations = backend.operations
    data, training, asarray = run.data, run.training, operations.device.asarray
    train, test = (
        asarray(pair_indices(pairs, data.modulus), np.int32) for pairs in (data.train, data.test)
    )
    labels = asarray(data.train_labels, np.int32)
    dtype = run.network.first.dtype
    run.network = run.network.map(lambda array: asarray(array, dtype))
    seen = None if run.transform is None else asarray(run.transform.T, dtype)
    view = partial(TrainedNetwork, backend, training.activation, train, seen)
    if run.rows:
        run.trained = view(run.network)
    for t in range(len(run.rows), run.epochs + 1):
        began = time.perf_counter()
        network = run.network
        if t > 0:
            rng = np.random.default_rng([run.seed, t])
            order = asarray(rng.permutation(len(train)), np.int64)
            network = operations.network_epoch(training, network, train[order], labels[order], seen)
        trained = view(network)
        record = {
            "epoch": float(t),
            **score_columns(
                _scores(trained, train, data.train_labels),
                _scores(trained, test, data.test_labels),
            ),
            "seconds": time.perf_counter() - began,
        }
        if not np.isfinite(record["train_mse"]):
            raise FloatingPointError(
                f"the network diverged in epoch {t}, training loss {record['train_mse']}; "
                "a smaller learning_rate or initialization_scale may help"
            )
        run.network, run.trained = network, trained
        run.rows.append(record)

        def keep(name: str, array: NDArray[Any], t: int = t) -> None:
            run.kept.setdefault(name, {})[t] = np.array(array)

        checkpoint = partial(run.checkpoint, operations)
        current = Epoch(t, run.epochs, record, trained, run.memory, keep, checkpoint)
        if any_stops(operations, run.callbacks, current):
            return


def _scores(network: TrainedNetwork, inputs: Any, labels: NDArray[np.int64]) -> Scores:
    with np.errstate(over="ignore", invalid="ignore"):  # a network that diverged
        return scores_of_outputs(network.outputs(inputs), labels)
