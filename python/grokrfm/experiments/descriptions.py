"""Experiments by description: frozen, with everything that their results depend on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis import feature_correlation, features
from ..checks import check_integer
from ..network import Epoch, FCNClassifier, NetworkMeasures
from ..operations import ArrayOperations, Kernel, make_operations, quadratic_form
from ..rfm import Callback, FeatureMeasures, RFMClassifier, Round, SolverWarning, fit_many
from ..tasks import Split
from .task_runs import LATER, Experiment, Result, TaskRun


@dataclass(frozen=True, kw_only=True)
class RFMRun(TaskRun):
    """A run of `RFMClassifier`; its result is the history, and feature matrices.

    Values of NumPy and lists become plain numbers and tuples: equal descriptions are equal.

    Attributes
    ----------
    operation : str or tuple of str
        One operation, or several for a `MultiTask`.
    modulus : int
        p, of a table its own.
    table : tuple of tuples of int, optional
        As in `ModularTask.from_table`, instead of the operation.
    random_labels : bool
        Whether the task is that of `ModularTask.with_random_labels`.
    train_fraction, train_count, label_noise :
        As in `ModularTask.split`.
    seed : int
        Of the split, of random labels and features, of what the estimator draws.
    reflection : int, optional
        k: the split is `ModularTask.symmetric_split` along the orbits of s rᵏ, of that
        train_fraction; 1 − 1/p is all but the fixed points.
    moved_out : int, optional
        As there; 0 unless given.
    stop_accuracy : float, optional
        Test accuracy at which the run ends early.
    random_circulant : bool
        Whether M_0 is a random circulant feature matrix, of the run's seed, or the identity.
    kernel, iterations, bandwidth, ridge, agop_power, centering, backend, solver, dtype, tol, depth,
    agop_classes, eval_pairs, keep_features, feature_update :
        As in `RFMClassifier`.
    keep : tuple of int
        Iterations whose feature matrix is in the result, as "matrix_<t>", if the run comes so far.
    enforce : bool
        Whether each M_t is also evaluated with exact block-circulant structure: columns
        enforced_test_accuracy and enforced_test_correct_class_mse.
    measure_fact : bool
        Whether each M_t is compared with the F of `RFMClassifier.fact` and with √AGOP of its
        predictor, by the correlation of their entries off the diagonal: columns fact_correlation,
        of the symmetric part of F, and agop_correlation. Takes a second solve a round.

    Raises
    ------
    TypeError, ValueError
        For the first bad value, when the description is made.
    """

    kernel: str = "quadratic"
    iterations: int = 30
    bandwidth: float = 2.5
    ridge: float = 0.0
    agop_power: float = 0.5
    centering: str = "per_class"
    backend: str = "auto"
    solver: str = "auto"
    dtype: str = "float32"
    tol: float = 1e-5
    depth: int = 1
    agop_classes: int | None = None
    eval_pairs: int | None = None
    keep_features: str | int = "all"
    feature_update: str = field(default="agop", metadata=LATER)
    keep: tuple[int, ...] = ()
    enforce: bool = False
    measure_fact: bool = field(default=False, metadata=LATER)

    estimator = RFMClassifier

    def check(self) -> None:
        if not isinstance(self.kernel, str):
            raise TypeError(f"kernel: expected the name of one, got {self.kernel!r}")
        super().check()
        for t in self.keep:
            check_integer("keep", t, minimum=0, maximum=self.iterations)
        if self.enforce and (isinstance(self.operation, tuple) or self.table is not None):
            raise ValueError(
                f"enforce: expected False without one named operation, got {self.operation}"
            )

        if self.measure_fact and (self.agop_classes is not None or self.keep_features != "all"):
            raise ValueError(
                "measure_fact: expected False with agop_classes or without all feature matrices, "
                "got True"
            )

    @property
    def cost(self) -> float:
        p, n = self.modulus, self.n_train
        sampled = self.agop_classes is not None and self.eval_pairs is not None
        columns = (self.agop_classes or 0) + (self.eval_pairs or 0) if sampled else p
        rounds = (self.iterations + 1) * (1 + self.enforce + self.measure_fact)
        on_grid = quadratic_form(Kernel(self.kernel)) is not None
        if on_grid and not isinstance(self.operation, tuple):
            return rounds * 80.0 * p**3 * columns
        if sampled:
            return rounds * 40.0 * n * n * columns
        return rounds * (n**3 / 3 + 8 * n * n * p + 4 * n * p * p * p)

    def run(self) -> Result:
        model, split, callbacks, start = self._prepared()
        return self._result(model.fit(split, callbacks=callbacks, feature_matrix=start))

    def _prepared(
        self,
    ) -> tuple[RFMClassifier, Split, list[Callback], NDArray[Any] | None]:
        """Return model, split, callbacks and M_0."""
        model, split, start = self.model(), self.split(), None
        if self.random_circulant:
            start = features.random_circulant(str(self.operation), self.modulus, self.seed)

        def evaluate_enforced(current: Round) -> None:
            M = features.enforce_structure(current.feature_matrix, str(self.operation))
            machine = RFMClassifier(**{**model.get_params(), "iterations": 0})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SolverWarning)  # the residual is kept instead
                machine.fit(split, feature_matrix=M)
            for name in ("test_accuracy", "test_correct_class_mse", "residual"):
                current.record[f"enforced_{name}"] = float(machine.history_[name][0])

        callbacks: list[Callback] = []
        if not isinstance(self.operation, tuple):
            callbacks.append(FeatureMeasures(split.operation))
        if self.enforce:
            callbacks.append(evaluate_enforced)
        return model, split, [*callbacks, *self.enough()], start

    def _result(self, model: RFMClassifier) -> Result:
        matrices = {
            f"matrix_{t}": M.astype(np.float32)
            for t, M in zip(model.kept_iterations_, model.feature_matrices_, strict=True)
            if t in self.keep
        }
        measured = _compared_with_fact(model) if self.measure_fact else {}
        return {**model.history_, **measured, **matrices}


def _compared_with_fact(model: RFMClassifier) -> Result:
    """The columns of `measure_fact`."""
    columns = np.empty((2, len(model.feature_matrices_)))
    for t, M in enumerate(model.feature_matrices_):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SolverWarning)  # the run has warned of the same
            predictor = model.at_iteration(t)
        F, root = predictor.fact(), ArrayOperations().matrix_power(predictor.agop(), 0.5)
        columns[:, t] = [feature_correlation(M, other, diagonal=False) for other in (F + F.T, root)]
    return {"fact_correlation": columns[0], "agop_correlation": columns[1]}


@dataclass(frozen=True, kw_only=True)
class NetworkRun(TaskRun):
    """A run of `FCNClassifier`; its result is the history, and features of the final network.

    Attributes
    ----------
    operation, modulus, table, random_labels, train_fraction, train_count, label_noise, seed, \
reflection, moved_out, stop_accuracy :
        As in `RFMRun`, of one operation; the seed is the network's too.
    hidden_width, activation, epochs, batch_size, learning_rate, weight_decay, agop_penalty, \
optimizer, initialization_scale, backend, dtype :
        As in `FCNClassifier`.
    random_circulant : bool
        Whether the inputs are (M*)^{1/4} x with a random circulant M* of the run's seed, or x.
    measure : bool
        Whether `NetworkMeasures` are taken every epoch; adds "nfm" and "feature_matrix", √AGOP,
        of the final network.
    measure_fact : bool
        Whether the column nfm_fact_correlation is taken every epoch: correlation off the diagonal
        of NFM and the symmetric part of `TrainedNetwork.fact`.

    Raises
    ------
    TypeError, ValueError
        For the first bad value, when the description is made.
    """

    hidden_width: int = 1024
    activation: str = "quadratic"
    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1.0
    agop_penalty: float = 0.0
    optimizer: str = "adamw"
    initialization_scale: float = 1.0
    backend: str = "auto"
    dtype: str = "float32"
    measure: bool = False
    measure_fact: bool = field(default=False, metadata=LATER)

    estimator = FCNClassifier

    @property
    def cost(self) -> float:
        p, h, n = self.modulus, self.hidden_width, self.n_train
        step = 6 * self.batch_size * h * p + 60 * 3 * p * h  # products, parameters
        if self.random_circulant:
            step += 24 * p * p * h
        if self.agop_penalty:
            step += 4 * h * h * (self.batch_size + p) + 8 * h * h * p
        measured = 4 * h * h * (n + 3 * p) if self.measure else 0
        return self.epochs * (n / self.batch_size * step + 2 * p**3 * h + measured)

    def run(self) -> Result:
        split, model, transform = self.split(), self.model(), None
        if self.random_circulant:
            M = features.random_circulant(str(self.operation), self.modulus, self.seed)
            transform = ArrayOperations().matrix_power(M, 0.5)
        measures: list[Any] = [NetworkMeasures(split.operation)] if self.measure else []
        if self.measure_fact:

            def compare_with_fact(current: Epoch) -> None:
                F, nfm = (
                    current.network.fact(split.y_train),
                    current.network.neural_feature_matrix(),
                )
                current.record["nfm_fact_correlation"] = feature_correlation(nfm, F + F.T, False)

            measures.append(compare_with_fact)
        model.fit(split, callbacks=[*measures, *self.enough()], input_transform=transform)
        if not self.measure:
            return dict(model.history_)
        final = {
            "nfm": model.network_.neural_feature_matrix(),
            "feature_matrix": model.feature_matrix_,
        }
        return {**model.history_, **final}


def run_together(runs: Sequence[RFMRun]) -> list[Result]:
    """Return the results of runs that a batched backend takes several at a time."""
    models, splits, callbacks, starts = zip(*(run._prepared() for run in runs), strict=True)
    fitted = fit_many(models, splits, callbacks, starts)
    return [run._result(model) for run, model in zip(runs, fitted, strict=True)]


def goes_together(run: Experiment) -> bool:
    """Whether `run_together` gains by this run."""
    try:
        return isinstance(run, RFMRun) and make_operations(run.backend).batched
    except RuntimeError:  # without that backend the run itself says so
        return False
