"""The fully connected network of the paper: one hidden layer, trained by minibatches."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..analysis.features import alignment
from ..operations import (
    ACTIVATIONS,
    BACKENDS,
    OPTIMIZERS,
    Network,
    Operations,
    Training,
    initial_network,
    make_operations,
    memory,
)
from ..tasks import PairData, pair_indices
from ..training import (
    DTYPES,
    Checkpoint,
    Estimator,
    Row,
    Scores,
    any_stops,
    check_classes,
    check_data,
    columns,
    pack,
    score_columns,
    scores_of_outputs,
    unpack_array,
    unpack_rows,
)
from .trained import Epoch, EpochCallback, TrainedNetwork

Kept = dict[str, dict[int, NDArray[Any]]]  # name -> epoch -> array


class FCNClassifier(Estimator):
    """Network f(x) = W₂ φ(W₁ x) without bias on pairs of residues modulo p.

    Pairs (a, b) enter as x = e_a ⊕ e_b in R^{2p}. Trained on the mean over batch and classes of
    (f_c − 1[c = y])², by minibatches in a new random order every epoch. Mallinar et al. 2025
    (arXiv 2407.20199), section 5 and appendix H.

    Parameters
    ----------
    modulus : int
        p ≥ 2.
    hidden_width : int
        h ≥ 1.
    activation : {"quadratic", "relu", "hermite"}
        φ: z², max(z, 0), or the normalised second Hermite polynomial (z² − 1)/√2.
    epochs : int
        ≥ 0.
    batch_size : int
        ≥ 1; the last batch of an epoch may be smaller.
    learning_rate : float
        > 0.
    weight_decay : float
        ≥ 0: decoupled for AdamW, added to the gradient for SGD.
    agop_penalty : float
        ≥ 0, weight of tr(AGOP) of the batch in the loss.
    seed : int
        Of initial weights and shuffling.
    optimizer : {"adamw", "sgd"}
        AdamW with β = (0.9, 0.98) and ε = 1e-8, or SGD without momentum; as in PyTorch.
    initialization_scale : float
        > 0; initial weights are uniform on ±scale/√fan_in.
    backend : {"auto", "cpp", "cuda", "cupy", "numpy"}
        Where the operations run; without a compiled form of the network a backend runs its array
        source. Any but "auto" is met or refused.
    dtype : {"float32", "float64"}
        Precision of the run.
    n_classes : int, optional
        Number of classes c; the modulus unless given.

    Attributes
    ----------
    history_ : dict of str to ndarray, each of length n_iter_ + 1
        Row t belongs to the network after t epochs. Keys: epoch; train_accuracy, test_accuracy;
        train_mse, test_mse; train_correct_class_mse, test_correct_class_mse, all as in
        `RFMClassifier`; seconds (training and evaluation); and what callbacks add.
    network_ : TrainedNetwork
        The final network: weights, AGOP, NFM.
    feature_matrix_ : ndarray, shape (2p, 2p)
        √AGOP of the final network.
    matrices_ : dict of str to ndarray
        What callbacks kept, one after the other along the first axis.
    matrix_epochs_ : dict of str to ndarray of int
        The epochs to which they belong.
    n_iter_ : int
        Epochs done: fewer than `epochs` after an early stop.
    classes_ : ndarray of int64, shape (c,)
    """

    def __init__(
        self,
        modulus: int,
        hidden_width: int = 1024,
        activation: str = "quadratic",
        epochs: int = 50,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        weight_decay: float = 1.0,
        agop_penalty: float = 0.0,
        seed: int = 0,
        optimizer: str = "adamw",
        initialization_scale: float = 1.0,
        backend: str = "auto",
        dtype: str = "float32",
        n_classes: int | None = None,
    ) -> None:
        self.modulus = modulus
        self.hidden_width = hidden_width
        self.activation = activation
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.agop_penalty = agop_penalty
        self.seed = seed
        self.optimizer = optimizer
        self.initialization_scale = initialization_scale
        self.backend = backend
        self.dtype = dtype
        self.n_classes = n_classes

    def check_parameters(self) -> tuple[Training, int]:
        """Return the training and the number of classes that the parameters stand for.

        Raises
        ------
        TypeError, ValueError
            For the first bad parameter. `fit` checks too.
        """
        p = checks.check_integer("modulus", self.modulus, minimum=2)
        checks.check_integer("hidden_width", self.hidden_width, minimum=1)
        checks.check_integer("epochs", self.epochs, minimum=0)
        checks.check_integer("seed", self.seed, minimum=0)
        checks.check_real("initialization_scale", self.initialization_scale, positive=True)
        checks.check_one_of("backend", self.backend, BACKENDS)
        checks.check_one_of("dtype", self.dtype, DTYPES)
        training = Training(
            activation=checks.check_one_of("activation", self.activation, ACTIVATIONS),
            optimizer=checks.check_one_of("optimizer", self.optimizer, OPTIMIZERS),
            learning_rate=checks.check_real("learning_rate", self.learning_rate, positive=True),
            weight_decay=checks.check_real("weight_decay", self.weight_decay),
            agop_penalty=checks.check_real("agop_penalty", self.agop_penalty),
            batch_size=checks.check_integer("batch_size", self.batch_size, minimum=1),
        )
        return training, check_classes(self.n_classes, p)

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        eval_set: tuple[ArrayLike, ArrayLike] | None = None,
        callbacks: Iterable[EpochCallback] = (),
        input_transform: ArrayLike | None = None,
        checkpoint: Mapping[str, NDArray[Any]] | None = None,
    ) -> FCNClassifier:
        """Train the network.

        Parameters
        ----------
        X : array_like of int, shape (n, 2)
            Training pairs of residues in [0, modulus).
        y : array_like of int, shape (n,)
            Labels in [0, n_classes).
        eval_set : (X_test, y_test), optional
            Pairs on which the network is evaluated after every epoch.
        callbacks : iterable of callable
            Each is called as callback(Epoch) before the first and after every epoch; a true return
            value ends the training there. An exception or Ctrl-C in the middle of an epoch passes
            through, with all completed epochs kept in the fitted attributes.
        input_transform : array_like, shape (2p, 2p), optional
            T: the network sees T x instead of x, and AGOP is taken with respect to T x. (M*)^{1/4}
            of a random circulant M* gives the paper's random circulant inputs.
        checkpoint : mapping of str to ndarray, optional
            What `Epoch.checkpoint` returned in a run with the same data and parameters: go on after
            that epoch.

        Returns
        -------
        FCNClassifier
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            For bad parameters or data, before any work.
        RuntimeError
            If the backend cannot be had.
        MemoryError
            If the run cannot fit into the available memory, before any work.
        FloatingPointError
            If the outputs overflow; completed epochs are kept.
        """
        training, n_classes = self.check_parameters()
        p, dtype = int(self.modulus), np.dtype(self.dtype)
        data = check_data(X, y, eval_set, p, n_classes)
        transform = (
            None
            if input_transform is None
            else checks.check_square("input_transform", input_transform, 2 * p)
        )
        self._require_memory(data, training, dtype.itemsize)
        rows: list[Row] = []
        kept: Kept = {}
        network = initial_network(
            2 * p,
            self.hidden_width,
            n_classes,
            training,
            float(self.initialization_scale),
            self.seed,
            dtype,
        )
        if checkpoint is not None:
            rows, kept, network = _unpack(checkpoint, network)
            if len(rows) - 1 > self.epochs:
                raise ValueError(
                    f"checkpoint: expected one of a run with at least {len(rows) - 1} epochs, "
                    f"got epochs={self.epochs}"
                )
        self._operations = make_operations(self.backend)
        self.classes_ = np.arange(n_classes)
        with self._operations.device.own_threads():
            try:
                self._train(training, network, data, transform, tuple(callbacks), rows, kept)
            finally:
                self._keep(rows, kept)
        return self

    def _require_memory(self, data: PairData, training: Training, itemsize: int) -> None:
        d, h, c = 2 * data.modulus, int(self.hidden_width), data.n_classes
        batch = min(training.batch_size, len(data.train))
        numbers = 8 * (d + c) * h + 4 * batch * h + 2 * (len(data.train) + len(data.test)) * c
        if training.agop_penalty:
            numbers += 4 * h * h
        memory.require(
            numbers * itemsize + (16 << 20),
            memory.available_bytes(),
            f"a network of width {h}",
            "use a smaller hidden_width or dtype='float32'",
        )

    def _train(
        self,
        training: Training,
        network: Network,
        data: PairData,
        transform: NDArray[np.float64] | None,
        callbacks: tuple[EpochCallback, ...],
        rows: list[Row],
        kept: Kept,
    ) -> None:
        """Run the epochs, appending to `rows` and `kept` as each one completes."""
        operations, dtype = self._operations, network.first.dtype
        train, test = (
            operations.device.asarray(pair_indices(pairs, data.modulus), np.int32)
            for pairs in (data.train, data.test)
        )
        labels = operations.device.asarray(data.train_labels, np.int32)
        network = network.map(lambda array: operations.device.asarray(array, dtype))
        seen = None if transform is None else operations.device.asarray(transform.T, dtype)
        view = partial(TrainedNetwork, operations, training.activation, train, seen)
        if rows:
            self.network_ = view(network)
        for t in range(len(rows), self.epochs + 1):
            began = time.perf_counter()
            if t > 0:
                rng = np.random.default_rng([int(self.seed), t])
                order = operations.device.asarray(rng.permutation(len(train)), np.int64)
                network = operations.network_epoch(
                    training, network, train[order], labels[order], seen
                )
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
            rows.append(record)
            self.network_ = trained

            def keep(name: str, array: NDArray[Any], t: int = t) -> None:
                kept.setdefault(name, {})[t] = array

            checkpoint = partial(_pack, operations, rows, kept, network)
            current = Epoch(t, self.epochs, record, trained, keep, checkpoint)
            if any_stops(callbacks, current):
                return

    def _keep(self, rows: list[Row], kept: Kept) -> None:
        """Turn completed epochs into the fitted attributes."""
        if not rows:
            return
        measured = kept.get("feature_matrix", {})
        for t, matrix in measured.items():
            rows[t]["feature_alignment"] = alignment(matrix, measured[max(measured)])
        self.history_ = columns(rows)
        self.matrices_ = {name: np.stack(list(arrays.values())) for name, arrays in kept.items()}
        self.matrix_epochs_ = {name: np.array(list(arrays)) for name, arrays in kept.items()}
        self.n_iter_ = len(rows) - 1

    @property
    def feature_matrix_(self) -> NDArray[Any]:
        """√AGOP of the final network, (2p, 2p)."""
        self.require_fit()
        return self.network_.feature_matrix()

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Outputs f_c(x) of the final network, (m, c), for pairs X, (m, 2)."""
        self.require_fit()
        pairs = checks.check_pairs("X", X, self.modulus)
        inputs = self._operations.device.asarray(pair_indices(pairs, self.modulus), np.int32)
        return self.network_.outputs(inputs)


def _scores(network: TrainedNetwork, inputs: Any, labels: NDArray[np.int64]) -> Scores:
    with np.errstate(over="ignore", invalid="ignore"):  # a network that diverged
        return scores_of_outputs(network.outputs(inputs), labels)


def _pack(operations: Operations, rows: list[Row], kept: Kept, network: Network) -> Checkpoint:
    """Return everything from which a run goes on after its last row."""
    arrays = _named(network.map(operations.device.to_numpy))
    arrays["steps"] = np.array(network.steps)
    for name, of_epochs in kept.items():
        arrays[f"matrices/{name}"] = np.stack(list(of_epochs.values()))
        arrays[f"matrix_epochs/{name}"] = np.array(list(of_epochs))
    return pack(rows, arrays)


def _unpack(
    checkpoint: Mapping[str, NDArray[Any]], initial: Network
) -> tuple[list[Row], Kept, Network]:
    """Rows, kept arrays and network; the shapes and dtypes must be those of the initial network."""
    first, second, *moments = (
        unpack_array(checkpoint, name, array.shape, array.dtype)
        for name, array in _named(initial).items()
    )
    kept: Kept = {}
    for key, epochs in checkpoint.items():
        if key.startswith("matrix_epochs/"):
            name = key.removeprefix("matrix_epochs/")
            arrays = zip(epochs, checkpoint[f"matrices/{name}"], strict=True)
            kept[name] = {int(t): array for t, array in arrays}
    network = Network(first, second, tuple(moments), int(checkpoint["steps"]))
    return unpack_rows(checkpoint), kept, network


def _named(network: Network) -> Checkpoint:
    moments = {f"moment/{k}": moment for k, moment in enumerate(network.moments)}
    return {"first": network.first, "second": network.second, **moments}
