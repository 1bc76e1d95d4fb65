"""The fully connected network of the paper as an estimator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..operations import (
    ACTIVATIONS,
    BACKENDS,
    OPTIMIZERS,
    Operations,
    Training,
    initial_network,
    make_operations,
    memory,
)
from ..tasks import PairData, pair_indices
from ..training import DTYPES, Estimator, check_classes, check_data, columns
from .epochs import EpochCallback, TrainingRun, train
from .trained import TrainedNetwork


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

    def require_memory(self, n_train: int, n_test: int) -> None:
        """Raise MemoryError if training on so many pairs cannot fit, before there are any pairs."""
        training, n_classes = self.check_parameters()
        data = PairData.of_size(n_train, n_test, int(self.modulus), n_classes)
        self._require_memory(data, training, np.dtype(self.dtype).itemsize)

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
        transform = None
        if input_transform is not None:
            transform = checks.check_square("input_transform", input_transform, 2 * p)
        self._require_memory(data, training, dtype.itemsize)
        scale, seed = float(self.initialization_scale), int(self.seed)
        run = TrainingRun(
            data=data,
            training=training,
            epochs=int(self.epochs),
            seed=seed,
            callbacks=tuple(callbacks),
            transform=transform,
            network=initial_network(
                2 * p, int(self.hidden_width), n_classes, training, scale, seed, dtype
            ),
        )
        if checkpoint is not None:
            run.restore(checkpoint)
        operations = make_operations(self.backend)
        try:
            train(operations, run)
        finally:
            if run.trained is not None:
                self._adopt(operations, run, run.trained)
        return self

    def _adopt(self, operations: Operations, run: TrainingRun, trained: TrainedNetwork) -> None:
        """Turn completed epochs into the fitted attributes."""
        self._operations, self.network_ = operations, trained
        self.classes_ = np.arange(run.data.n_classes)
        self.history_ = columns(run.rows)
        self.matrices_ = {
            name: np.stack(list(of_epochs.values())) for name, of_epochs in run.kept.items()
        }
        self.matrix_epochs_ = {
            name: np.array(list(of_epochs)) for name, of_epochs in run.kept.items()
        }
        self.n_iter_ = len(run.rows) - 1

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
