"""What a fitted Recursive Feature Machine is made of, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..operations import CustomKernel, FittedBackend, fact_matrix, memory
from ..tasks import PairData, formula_of, input_dimension, pair_indices
from ..training import Estimator, check_history, find_classes, unpack_array
from .columns import ColumnsOfMetric, outputs_of_pairs
from .run import unpack_matrices
from .sampling import Draw
from .settings import Settings
from .solvers import SOLVERS, make_columns

Self = TypeVar("Self", bound="FittedRFM")


class FittedRFM(Estimator):
    """The fitted half of `RFMClassifier`: its state, and the queries of the final predictor.

    All arrays are on the host, in the dtype of the run.
    """

    def check_parameters(self) -> Settings:
        """Return the parameters as what they stand for."""
        raise NotImplementedError

    def _set_fitted(
        self,
        settings: Settings,
        backend: FittedBackend,
        solver: str,
        data: PairData,
        history: dict[str, NDArray[Any]],
        matrices: Mapping[str, NDArray[Any]],
        dual_coefficients: NDArray[Any] | None,
    ) -> None:
        """All fitted attributes: with everything computed before, of one fit alone.

        `matrices`: as of `pack_matrices`.
        """
        self._settings = settings
        self._backend = backend
        self.solver_ = solver
        self.X_train_ = data.train
        self.classes_ = data.class_labels
        self.y_train_ = self.classes_[data.train_labels]
        self.operation_ = data.operation
        self.history_ = history
        self.feature_matrices_ = matrices["feature_matrices"]
        self.kept_iterations_ = matrices["kept_iterations"]
        self.feature_matrix_ = self.feature_matrices_[-1].copy()
        self.dual_coef_ = dual_coefficients
        self.n_iter_ = int(self.kept_iterations_[-1])

    def fitted_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        if isinstance(self._settings.kernel, CustomKernel):
            raise TypeError(
                f"save: expected a kernel by name, got {self._settings.kernel!r}: a file holds no "
                "functions; pickle the model"
            )
        arrays = {
            "X_train": self.X_train_,
            "y_train": self.y_train_,
            "feature_matrices": self.feature_matrices_,
            "kept_iterations": self.kept_iterations_,
        }
        if self.dual_coef_ is not None:
            arrays["dual_coef"] = self.dual_coef_
        values = {"solver": self.solver_, "operation": self.operation_}
        return arrays, {"parameters": dict(self._settings.parameters), **values}

    def restore(
        self: Self,
        history: dict[str, NDArray[Any]],
        arrays: Mapping[str, NDArray[Any]],
        values: Mapping[str, Any],
    ) -> Self:
        settings = self.check_parameters()
        p, n_tasks = settings.modulus, settings.n_tasks
        d, dtype = input_dimension(p, n_tasks), settings.dtype
        X_train = checks.check_pairs("X_train", arrays["X_train"], p, n_tasks)
        classes, y_train = find_classes(
            "y_train", arrays["y_train"], len(X_train), settings.parameters["n_classes"], p
        )
        kept, matrices = unpack_matrices(arrays, d, dtype)
        dual = None
        if not settings.few_columns:
            dual = unpack_array(arrays, "dual_coef", (len(X_train), len(classes)), dtype)
        check_history(history, int(kept[-1]) + 1)
        solver = checks.check_one_of("solver", values["solver"], SOLVERS[1:])
        backend = FittedBackend(settings.backend)
        operation = formula_of(values.get("operation"))
        X_test, y_test = X_train[:0], y_train[:0]
        data = PairData(
            X_train, y_train, X_test, y_test, p, len(classes), n_tasks, operation, classes
        )
        stored = {"feature_matrices": matrices, "kept_iterations": kept}
        self._set_fitted(settings, backend, solver, data, history, stored, dual)
        return self

    def _on_device(self, array: NDArray[Any]) -> Any:
        return self._backend.operations.device.asarray(array, self._settings.dtype)

    def _inputs(self, pairs: NDArray[np.int64]) -> Any:
        indices = pair_indices(pairs, self._settings.modulus)
        return self._backend.operations.device.asarray(indices, np.int32)

    def _check_pairs(self, name: str, pairs: ArrayLike) -> NDArray[np.int64]:
        self.require_fit()
        return checks.check_pairs(name, pairs, self._settings.modulus, self._settings.n_tasks)

    def decision_function(
        self, X: ArrayLike, progress: Callable[[int, int], object] | None = None
    ) -> NDArray[Any]:
        """Outputs f_c(x) of the final predictor, (m, c), for pairs X, (m, 2).

        A model without dual coefficients solves for each pair, 10 p³ flops a step of conjugate
        gradients, in blocks, and calls progress(pairs done, all) after each of them. The outputs
        are those that dual coefficients would give, to the tolerance.
        """
        pairs = self._check_pairs("X", X)
        if len(pairs) == 0:
            return np.empty((0, len(self.classes_)), self._settings.dtype)
        if self.dual_coef_ is None:
            with self._backend.operations.device.own_threads():
                return outputs_of_pairs(self._columns(), pairs, self._block_of_pairs(), progress)
        operations = self._backend.operations
        outputs = operations.decision_function(
            self._settings.kernel,
            self._on_device(self.feature_matrix_),
            self._inputs(pairs),
            self._inputs(self.X_train_),
            self._on_device(self.dual_coef_),
        )
        return operations.device.to_numpy(outputs)

    def kernel_matrix(self, X: ArrayLike, Z: ArrayLike | None = None) -> NDArray[Any]:
        """k(x_i, z_j) with the final feature matrix, (n, m), for pairs X, (n, 2), and Z, (m, 2).

        Of the pairs X with themselves without Z.

        Raises
        ------
        MemoryError
            If it cannot fit into the available memory.
        """
        pairs = self._check_pairs("X", X)
        others = pairs if Z is None else self._check_pairs("Z", Z)
        operations, settings = self._backend.operations, self._settings
        if len(pairs) == 0 or len(others) == 0:
            return np.empty((len(pairs), len(others)), settings.dtype)
        memory.require(
            len(pairs) * len(others) * settings.dtype.itemsize,
            operations.device.available_bytes(),
            f"a kernel matrix of {len(pairs)} by {len(others)} pairs",
            "ask for fewer pairs",
        )
        M, inputs = self._on_device(self.feature_matrix_), self._inputs(pairs)
        other = None if Z is None else self._inputs(others)
        K = operations.kernel_matrix(settings.kernel, M, inputs, other)
        return operations.device.to_numpy(K)

    def agop(self) -> NDArray[Any]:
        """AGOP of the final predictor on the training pairs, (d, d).

        The next feature matrix would be its power `agop_power`, unless feature_update="fact". About
        4 n² c + 4 n c p² flops.
        """
        self.require_fit()
        if self.dual_coef_ is None:
            of_all: NDArray[Any] = self._solved_agops([range(len(self.classes_))])[0]
            return of_all
        return self._agop(self.dual_coef_)

    def class_agops(self, classes: Iterable[int] | None = None) -> NDArray[Any]:
        """AGOP of single outputs of the final predictor on the training pairs.

        All classes' together sum to `agop`.

        Parameters
        ----------
        classes : iterable of int, optional
            Which outputs, as numbers of columns; all unless given.

        Returns
        -------
        ndarray, shape (len(classes), d, d)
            About 8 n² + 4 n p² flops each.
        """
        self.require_fit()
        last = len(self.classes_) - 1
        chosen = [
            checks.check_integer("classes", label, minimum=0, maximum=last)
            for label in (range(last + 1) if classes is None else classes)
        ]
        if self.dual_coef_ is None:
            return self._solved_agops([[label] for label in chosen])
        agops = np.empty((len(chosen), *self.feature_matrix_.shape), self._settings.dtype)
        for agop, label in zip(agops, chosen, strict=True):
            agop[...] = self._agop(self.dual_coef_[:, [label]])
        return agops

    def fact(self) -> NDArray[Any]:
        """F = Σ_jc α_jc ∇f_c(x_j) x_jᵀ of the final predictor on its training pairs, (d, d).

        The right side of the Features at Convergence Theorem (arXiv 2507.05644),
        −1/(nλ) Σ_j ∇ℓ_j x_jᵀ of half the squared errors ℓ_j, in the limit of no ridge: M = F at the
        fixed points of FACT-RFM, and F is not symmetric elsewhere. Of any model with dual
        coefficients, whatever its feature_update. About 2 n² (c + 4 p) flops.

        Raises
        ------
        ValueError
            If the model keeps no dual coefficients (eval_pairs).
        """
        self.require_fit()
        if self.dual_coef_ is None:
            raise ValueError("fact: expected a model with dual coefficients, got one of eval_pairs")
        device = self._backend.operations.device
        with device.own_threads():
            F = fact_matrix(
                device.xp,
                self._settings.kernel,
                self._on_device(self.feature_matrix_),
                self._inputs(self.X_train_),
                self._on_device(self.dual_coef_),
            )
            return device.to_numpy(F)

    def _columns(self) -> ColumnsOfMetric:
        """What solves with the final feature matrix, where there are no dual coefficients."""
        settings = self._settings
        labels = np.searchsorted(self.classes_, self.y_train_)
        nothing = self.X_train_[:0], labels[:0]
        p, c = settings.modulus, len(self.classes_)
        columns = make_columns(
            self._backend.operations,
            settings.kernel,
            PairData(self.X_train_, labels, *nothing, p, c),
            dtype=settings.dtype,
            ridge=settings.ridge,
            centred=settings.centred,
            tolerance=settings.tolerance,
            pair_tolerance=settings.tolerance,
        )
        return columns.at(self._on_device(self.feature_matrix_))

    def _block_of_pairs(self) -> int:
        """How many pairs are solved for at a time: 256 MB of vectors, or 16 pairs."""
        one = 3 * len(self.X_train_) * self._settings.dtype.itemsize
        return max(16, (256 << 20) // one)

    def _solved_agops(self, groups: Sequence[Sequence[int]]) -> NDArray[Any]:
        """AGOP of each group of classes, (groups, d, d), by solves for them."""
        operations, no_pairs = self._backend.operations, self.X_train_[:0]
        agops = np.zeros((len(groups), *self.feature_matrix_.shape), self._settings.dtype)
        with operations.device.own_threads():
            columns = self._columns()
            for agop, classes in zip(agops, groups, strict=True):
                for first in range(0, len(classes), 64):
                    chosen = np.array(classes[first : first + 64], dtype=np.int64)
                    draw = Draw(chosen, np.ones(len(chosen)))
                    agop += operations.device.to_numpy(columns.solve(draw, no_pairs).agop())
        return agops

    def _agop(self, dual_coefficients: NDArray[Any]) -> NDArray[Any]:
        operations, settings = self._backend.operations, self._settings
        agop = operations.agop(
            settings.kernel,
            self._on_device(self.feature_matrix_),
            self._inputs(self.X_train_),
            self._on_device(dual_coefficients),
            settings.centred,
        )
        return operations.device.to_numpy(agop)
