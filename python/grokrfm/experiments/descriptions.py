"""Experiments by description: frozen, with everything that their results depend on."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..analysis import features
from ..network import FCNClassifier, NetworkMeasures
from ..operations import ArrayOperations, Kernel, quadratic_form
from ..rfm import Callback, FeatureMeasures, RFMClassifier, Round, SolverWarning
from ..tasks import ModularTask, MultiTask

Result = dict[str, NDArray[Any]]


class Experiment(Protocol):
    """A frozen dataclass whose fields say everything that the result depends on."""

    @property
    def cost(self) -> float:
        """Rough count of floating-point operations, for the progress bar."""
        ...

    def run(self) -> Result: ...


@dataclass(frozen=True)
class RFMRun:
    """A run of `RFMClassifier`; its result is the history, and feature matrices.

    Attributes
    ----------
    operations : tuple of str
        One operation, or several for a `MultiTask`.
    modulus, train_fraction, seed, kernel, iterations :
        As in `ModularTask.split` and `RFMClassifier`. Kernels without a form on the grid of pairs
        run in float64.
    random_circulant : bool
        Whether M_0 is a random circulant feature matrix, of the run's seed, or the identity.
    keep : tuple of int
        Iterations whose feature matrix is kept, as "matrix_<t>".
    enforce : bool
        Whether each M_t is also evaluated with exact block-circulant structure: columns
        enforced_test_accuracy and enforced_test_correct_class_mse.
    """

    operations: tuple[str, ...]
    modulus: int
    train_fraction: float = 0.5
    seed: int = 0
    kernel: str = "quadratic"
    iterations: int = 30
    random_circulant: bool = False
    keep: tuple[int, ...] = ()
    enforce: bool = False

    @property
    def _on_the_grid(self) -> bool:
        return quadratic_form(Kernel(self.kernel)) is not None

    @property
    def cost(self) -> float:
        p, c = self.modulus, self.modulus
        rounds = (self.iterations + 1) * (2 if self.enforce else 1)
        if self._on_the_grid and len(self.operations) == 1:
            return rounds * 80.0 * p**4
        n = self.train_fraction * p * p * len(self.operations)
        return rounds * (n**3 / 3 + 8 * n * n * c + 4 * n * c * p * p)

    def run(self) -> Result:
        p = self.modulus
        task = (
            ModularTask(self.operations[0], p)
            if len(self.operations) == 1
            else MultiTask(self.operations, p)
        )
        split = task.split(self.train_fraction, self.seed)
        model = RFMClassifier(
            p,
            kernel=self.kernel,
            iterations=self.iterations,
            dtype="float32" if self._on_the_grid else "float64",
            n_tasks=len(self.operations),
        )
        eval_set = (split.X_test, split.y_test)
        start = None
        if self.random_circulant:
            start = features.random_circulant(self.operations[0], p, self.seed)

        def evaluate_enforced(current: Round) -> None:
            M = features.enforce_structure(current.feature_matrix, self.operations[0])
            machine = RFMClassifier(**{**model.get_params(), "iterations": 0})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SolverWarning)  # the residual is kept instead
                machine.fit(split.X_train, split.y_train, eval_set, feature_matrix=M)
            for name in ("test_accuracy", "test_correct_class_mse", "residual"):
                current.record[f"enforced_{name}"] = float(machine.history_[name][0])

        callbacks: list[Callback] = []
        if len(self.operations) == 1:
            callbacks.append(FeatureMeasures(self.operations[0]))
        if self.enforce:
            callbacks.append(evaluate_enforced)
        model.fit(split.X_train, split.y_train, eval_set, callbacks, feature_matrix=start)
        matrices = {f"matrix_{t}": model.feature_matrices_[t].astype(np.float32) for t in self.keep}
        return {**model.history_, **matrices}


@dataclass(frozen=True)
class NetworkRun:
    """A run of `FCNClassifier`; its result is the history, and features of the final network.

    Attributes
    ----------
    operation, modulus, train_fraction, seed :
        As in `ModularTask.split`; the seed is the network's too.
    epochs, hidden_width, batch_size, learning_rate, weight_decay, agop_penalty, optimizer :
        As in `FCNClassifier`.
    random_circulant : bool
        Whether the inputs are (M*)^{1/4} x with a random circulant M* of the run's seed, or x.
    measure : bool
        Whether `NetworkMeasures` are taken every epoch; adds "nfm" and "feature_matrix", √AGOP,
        of the final network.
    """

    operation: str
    modulus: int = 61
    train_fraction: float = 0.5
    seed: int = 0
    epochs: int = 50
    hidden_width: int = 1024
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1.0
    agop_penalty: float = 0.0
    optimizer: str = "adamw"
    random_circulant: bool = False
    measure: bool = False

    @property
    def cost(self) -> float:
        p, h = self.modulus, self.hidden_width
        n = self.train_fraction * p * p
        step = 6 * self.batch_size * h * p + 60 * 3 * p * h  # products, parameters
        if self.random_circulant:
            step += 24 * p * p * h
        if self.agop_penalty:
            step += 4 * h * h * (self.batch_size + p) + 8 * h * h * p
        measured = 4 * h * h * (n + 3 * p) if self.measure else 0
        return self.epochs * (n / self.batch_size * step + 2 * p**3 * h + measured)

    def run(self) -> Result:
        split = ModularTask(self.operation, self.modulus).split(self.train_fraction, self.seed)
        given = asdict(self)
        model = FCNClassifier(
            **{name: given[name] for name in FCNClassifier.parameter_names() if name in given}
        )
        transform = None
        if self.random_circulant:
            M = features.random_circulant(self.operation, self.modulus, self.seed)
            transform = ArrayOperations().matrix_power(M, 0.5)
        model.fit(
            split.X_train,
            split.y_train,
            (split.X_test, split.y_test),
            [NetworkMeasures(self.operation)] if self.measure else [],
            input_transform=transform,
        )
        if not self.measure:
            return dict(model.history_)
        final = {
            "nfm": model.network_.neural_feature_matrix(),
            "feature_matrix": model.feature_matrix_,
        }
        return {**model.history_, **final}
