"""The fully connected network of the paper as an estimator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..operations import (
    ACTIVATIONS,
    BACKENDS,
    OPTIMIZERS,
    FittedBackend,
    Training,
    initial_network,
    make_operations,
    memory,
)
from ..tasks import PairData, Split, pair_indices
from ..training import (
    DTYPES,
    Estimator,
    check_classes,
    check_data,
    check_history,
    columns,
    find_classes,
    is_numbered,
    unpack_array,
)
from .epochs import EpochCallback, TrainingRun, train
from .trained import TrainedNetwork

# The array source, which networks have on a GPU, knows no TF32.
NETWORK_BACKENDS = tuple(name for name in BACKENDS if name != "cuda-tf32")


@dataclass(frozen=True)
class Settings:
    """The parameters of `FCNClassifier`, checked; `parameters` as plain Python values."""

    parameters: Mapping[str, Any]
    modulus: int
    n_classes: int
    hidden_width: int
    epochs: int
    seed: int
    initialization_scale: float
    backend: str
    dtype: np.dtype[Any]
    training: Training


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
    history_ : dict of str to ndarray, each of length `n_iter_` + 1
        Row t belongs to the network after t epochs. Keys: epoch; train_accuracy, test_accuracy;
        train_mse, test_mse; train_correct_class_mse, test_correct_class_mse, all as in
        `RFMClassifier`; seconds (training and evaluation); and what callbacks add.
    network_ : TrainedNetwork
        The final network: weights, AGOP, NFM.
    X_train_ : ndarray of int64, shape (n, 2)
        Training pairs, over which AGOP is taken.
    feature_matrix_ : ndarray, shape (2p, 2p)
        √AGOP of the final network.
    matrices_ : dict of str to ndarray
        What callbacks kept, one after the other along the first axis.
    matrix_epochs_ : dict of str to ndarray of int
        The epochs to which they belong.
    n_iter_ : int
        Epochs done: fewer than `epochs` after an early stop.
    classes_ : ndarray, shape (c,)
        As in `RFMClassifier`.
    n_features_in_ : int
        Columns of X, 2.
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

    def check_parameters(self) -> Settings:
        """Return the parameters as what they stand for.

        Raises
        ------
        TypeError, ValueError
            For the first bad parameter. `fit` checks too.
        """
        p = checks.check_integer("modulus", self.modulus, minimum=2)
        hidden_width = checks.check_integer("hidden_width", self.hidden_width, minimum=1)
        epochs = checks.check_integer("epochs", self.epochs, minimum=0)
        seed = checks.check_integer("seed", self.seed, minimum=0)
        scale = checks.check_real("initialization_scale", self.initialization_scale, positive=True)
        backend = checks.check_one_of("backend", self.backend, NETWORK_BACKENDS)
        dtype = checks.check_one_of("dtype", self.dtype, DTYPES)
        training = Training(
            activation=checks.check_one_of("activation", self.activation, ACTIVATIONS),
            optimizer=checks.check_one_of("optimizer", self.optimizer, OPTIMIZERS),
            learning_rate=checks.check_real("learning_rate", self.learning_rate, positive=True),
            weight_decay=checks.check_real("weight_decay", self.weight_decay),
            agop_penalty=checks.check_real("agop_penalty", self.agop_penalty),
            batch_size=checks.check_integer("batch_size", self.batch_size, minimum=1),
        )
        return Settings(
            parameters=self.plain_params(),
            modulus=p,
            n_classes=check_classes(self.n_classes, p),
            hidden_width=hidden_width,
            epochs=epochs,
            seed=seed,
            initialization_scale=scale,
            backend=backend,
            dtype=np.dtype(dtype),
            training=training,
        )

    def require_memory(self, n_train: int, n_test: int) -> int:
        """Return the bytes of training on so many pairs, before there are any pairs.

        Raises
        ------
        MemoryError
            If they are not available.
        """
        settings = self.check_parameters()
        data = PairData.of_size(n_train, n_test, settings.modulus, settings.n_classes)
        return _require_memory(settings, data)

    def fit(
        self,
        X: ArrayLike | Split,
        y: ArrayLike | None = None,
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
            Or a split of a task, without y: its training pairs, evaluated on its test pairs unless
            there is an eval_set.
        y : array_like, shape (n,)
            Labels in [0, n_classes), or other integers or strings, of at most n_classes kinds,
            which make up the classes; integers only in that range if n_classes is given.
        eval_set : (X_test, y_test), optional
            Pairs on which the network is evaluated after every epoch.
        callbacks : iterable of callable
            Each is called as callback(Epoch) before the first and after every epoch; a return value
            of True, and no other, ends the training there. An exception or Ctrl-C in the middle of
            an epoch passes through, with all completed epochs kept in the fitted attributes; before
            the first one is complete, an earlier fit stays. A callback's method `close`, if it has
            one, is called when the training ends, however it ends.
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
        settings = self.check_parameters()
        n_classes = settings.parameters["n_classes"]
        data = check_data(X, y, eval_set, settings.modulus, n_classes)
        d, training = data.dimension, settings.training
        transform = None
        if input_transform is not None:
            transform = checks.check_square("input_transform", input_transform, d)
        need = _require_memory(settings, data)
        run = TrainingRun(
            data=data,
            training=training,
            epochs=settings.epochs,
            seed=settings.seed,
            callbacks=tuple(callbacks),
            transform=transform,
            network=initial_network(
                d,
                settings.hidden_width,
                data.n_classes,
                training,
                settings.initialization_scale,
                settings.seed,
                settings.dtype,
            ),
            memory=need,
        )
        if checkpoint is not None:
            run.restore(checkpoint)
        backend = FittedBackend(settings.backend, make_operations(settings.backend))
        try:
            train(backend, run)
        finally:
            if run.trained is not None:
                self._set_fitted(
                    settings,
                    backend,
                    data.train,
                    data.class_labels,
                    run.trained,
                    columns(run.rows),
                    {name: np.stack(list(kept.values())) for name, kept in run.kept.items()},
                    {name: np.array(list(kept)) for name, kept in run.kept.items()},
                )
        return self

    def _set_fitted(
        self,
        settings: Settings,
        backend: FittedBackend,
        X_train: NDArray[np.int64],
        classes: NDArray[Any],
        network: TrainedNetwork,
        history: dict[str, NDArray[Any]],
        matrices: dict[str, NDArray[Any]],
        matrix_epochs: dict[str, NDArray[Any]],
    ) -> None:
        """All fitted attributes: with everything computed before, of one fit alone."""
        self._settings = settings
        self._backend = backend
        self.X_train_ = X_train
        self.network_ = network
        self.classes_ = classes
        self.history_ = history
        self.matrices_ = matrices
        self.matrix_epochs_ = matrix_epochs
        self.n_iter_ = len(history["epoch"]) - 1

    def fitted_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        first, second = self.network_.weights()
        arrays = {"X_train": self.X_train_, "first_weights": first, "second_weights": second}
        if not is_numbered(self.classes_):
            arrays["classes"] = self.classes_
        transform = self.network_.transform()
        if transform is not None:
            arrays["transform"] = transform
        for name, matrices in self.matrices_.items():
            arrays[f"matrices/{name}"] = matrices
            arrays[f"matrix_epochs/{name}"] = self.matrix_epochs_[name]
        return arrays, {"parameters": dict(self._settings.parameters)}

    def restore(
        self,
        history: dict[str, NDArray[Any]],
        arrays: Mapping[str, NDArray[Any]],
        values: Mapping[str, Any],
    ) -> FCNClassifier:
        settings = self.check_parameters()
        p, h = settings.modulus, settings.hidden_width
        classes = np.arange(settings.n_classes)
        if "classes" in arrays:
            given = arrays["classes"]
            n_classes = settings.parameters["n_classes"]
            classes, _ = find_classes("classes", given, len(given), n_classes, p)
        c = len(classes)
        X_train = checks.check_pairs("X_train", arrays["X_train"], p)
        first = unpack_array(arrays, "first_weights", (h, 2 * p), settings.dtype)
        second = unpack_array(arrays, "second_weights", (c, h), settings.dtype)
        transform = None
        if "transform" in arrays:
            transform = unpack_array(arrays, "transform", (2 * p, 2 * p), settings.dtype)
        check_history(history, len(history["epoch"]))
        backend = FittedBackend(settings.backend)
        network = TrainedNetwork.from_host(
            backend,
            settings.training.activation,
            pair_indices(X_train, p),
            transform,
            first,
            second,
        )
        kept: dict[str, dict[str, NDArray[Any]]] = {"matrices": {}, "matrix_epochs": {}}
        for key, array in arrays.items():
            of, _, name = key.partition("/")
            if of in kept:
                kept[of][name] = array
        for name, epochs in kept["matrix_epochs"].items():
            count = len(kept["matrices"][name])
            checks.check_labels(f"matrix_epochs/{name}", epochs, count, len(history["epoch"]))
        self._set_fitted(settings, backend, X_train, classes, network, history, *kept.values())
        return self

    @property
    def feature_matrix_(self) -> NDArray[Any]:
        """√AGOP of the final network, (2p, 2p), computed at the first access; read-only."""
        self.require_fit()
        return self.network_.feature_matrix()

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Outputs f_c(x) of the final network, (m, c), for pairs X, (m, 2)."""
        self.require_fit()
        p = self._settings.modulus
        indices = pair_indices(checks.check_pairs("X", X, p), p)
        inputs = self._backend.operations.device.asarray(indices, np.int32)
        return self.network_.outputs(inputs)


def _require_memory(settings: Settings, data: PairData) -> int:
    d, h, c = data.dimension, settings.hidden_width, data.n_classes
    batch = min(settings.training.batch_size, len(data.train))
    numbers = 8 * (d + c) * h + 4 * batch * h + 2 * (len(data.train) + len(data.test)) * c
    if settings.training.agop_penalty:
        numbers += 4 * h * h
    return memory.require(
        numbers * settings.dtype.itemsize + (16 << 20),
        memory.available_bytes(),
        f"a network of width {h}",
        "use a smaller hidden_width or dtype='float32'",
    )
