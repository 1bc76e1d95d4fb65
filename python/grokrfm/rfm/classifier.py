"""The Recursive Feature Machine as an estimator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..operations import CustomKernel, FittedBackend, Operations, make_operations, quadratic_form
from ..tasks import PairData, Split
from ..training import check_data, columns
from .fitted import FittedRFM
from .parameters import check_settings
from .parts import Workers
from .requirements import require_memory
from .rounds import run_rounds
from .run import Callback, Run, pack_matrices
from .settings import Settings
from .solvers import cholesky_fits, choose_solver
from .switching import SWITCHED


class RFMClassifier(FittedRFM):
    """Recursive Feature Machine on pairs of residues modulo p.

    From M_0, round t solves kernel ridge regression on one-hot labels with the kernel
    k(x, z; M_t), then sets M_{t+1} = AGOP(f_t)^s. Pairs (a, b) enter as x = e_a ⊕ e_b in R^{2p}.
    Method: Radhakrishnan et al. 2024; on modular arithmetic: Mallinar et al. 2025
    (arXiv 2407.20199).

    Parameters
    ----------
    modulus : int
        p ≥ 2.
    kernel : str or CustomKernel
        One of `grokrfm.operations.KERNELS`, formulas in `grokrfm.operations.make_kernel`; or one of
        one's own, which cannot be saved.
    iterations : int
        T ≥ 0 updates of the feature matrix, hence T + 1 predictors.
    bandwidth : float
        L > 0 of the Gaussian and Laplace kernels.
    ridge : float
        Added to the diagonal of the kernel matrix; 0 interpolates.
    agop_power : float
        Exponent s > 0 on the AGOP.
    centering : {"per_class", "none"}
        Whether the AGOP subtracts each class's mean gradient over the training points.
    backend : {"auto", "cuda", "cuda-tf32", "cupy", "cpp", "numpy"}
        Where the operations run; see `grokrfm.operations.make_operations`. Any but "auto" is met or
        refused.
    solver : {"auto", "cg", "cholesky"}
        "cholesky" forms the n × n kernel matrix; "cg" runs preconditioned conjugate gradients
        without one, for pairs given once: on the grid of pairs in closed form for the kernels
        quadratic, general_quadratic and quadratic_ntk, by streamed products with the kernel matrix
        for the others. "auto" takes cg where it applies and there is too little memory for the
        kernel matrix, and for those three from 1000 training pairs on; it logs its choice. Where
        M becomes so nearly singular that cg on the grid misses the tolerance, "auto" goes on with
        cholesky in double precision from that round on, if the kernel matrix fits into memory and
        its factor costs no more than three such rounds; a warning says so.
    dtype : {"float32", "float64"}
        Precision of the run.
    tol : float
        Relative residual ‖y − K α‖ / ‖y‖ of every class at which cg stops; cholesky ignores it.
        A class whose residual does not halve within 150 steps stops short of it. Complained of is
        a residual above it and above 300 units of the last place, 4e-5 in single precision.
    depth : int
        Hidden layers of the "ntk" kernel, 1 to 100.
    n_classes : int, optional
        Number of classes c; the modulus unless given.
    n_tasks : int
        Number of tasks that share the outputs (`tasks.MultiTask`). With more than one the inputs
        have a third column, the task's number, and one bit for each task after the first: d = 2p +
        n_tasks − 1.
    agop_classes : int, optional
        m, from 1 to n_classes: every update's AGOP is estimated from m classes drawn afresh, as
        c / m times the sum of their AGOPs, which is unbiased. A dozen serve at any modulus; close
        to the smallest training fraction that generalises take more. None and n_classes are exact.
    eval_pairs : int, optional
        With agop_classes, k ≥ 0: no round solves for all classes any more, and the accuracy is that
        of k evaluation pairs drawn once, whose outputs take one solve each, to a relative residual
        of 1e-3 for the quadratic family and 1e-5 for other kernels. The work of a round no
        longer grows with the number of classes, and no dual coefficients are kept. The accuracy on
        training pairs is NaN then, losses are over the drawn classes. None evaluates all pairs, by
        all classes.
    seed : int
        Of the drawn classes and pairs.
    keep_features : {"all", "last"} or int
        Whose rounds' feature matrices are kept: all, which is refused where they would take more
        than 4 GB; that of the last round alone; or, of every k-th round, M_0, M_k, M_2k …, and the
        last. A checkpoint has no more either: a run that goes on keeps what is left.
    feature_update : {"agop", "fact"}
        M_{t+1} = AGOP(f_t)^s or ``|F M_t|^s``, F the matrix of the Features at Convergence Theorem
        (`fact`): with s = 1/2 FACT-RFM in its form with geometric averaging (Boix-Adserà et al.
        2025, arXiv 2507.05644). That takes no centering and no drawn classes, and outside the
        quadratic family the solver "cholesky".

    Attributes
    ----------
    history_ : dict of str to ndarray, each of length iterations + 1
        Row t belongs to the predictor solved with M_t. Keys: iteration; train_accuracy,
        test_accuracy; train_mse, test_mse (mean over pairs and classes of (f_c − 1[c = y])²);
        train_correct_class_mse, test_correct_class_mse (mean over pairs of (f_y − 1)²);
        feature_trace (tr M_t); circulant_deviation (of the bottom-left block of M_t, the better
        orientation, NaN for a zero block; for x*y and x/y in the order of discrete logarithms if
        `fit` was given a split, which knows its operation); feature_alignment (cosine of M_t and
        the last M, NaN where M_t was not kept); residual (largest relative residual over the
        classes); cg_iterations (most over the classes, 0 for cholesky); solver_fallback (1 where
        the solve took its fallback: cholesky for cg, the minimum-norm solution for cholesky);
        seconds (wall time of the round, the update that led to M_t included).
        Test quantities are NaN without evaluation pairs. With agop_classes also test_accuracy_error
        (standard error of an accuracy of drawn pairs; 0 where all are taken). With several tasks
        also train_accuracy_task_0, test_accuracy_task_0 and so on.
    feature_matrix_ : ndarray, shape (2p, 2p)
        M of the final predictor.
    feature_matrices_ : ndarray, shape (iterations + 1, 2p, 2p)
        M_t for every row of the history, or for those that `keep_features` asks for.
    kept_iterations_ : ndarray of int64
        t of each of them.
    dual_coef_ : ndarray, shape (n, c), or None
        Dual coefficients of the final predictor; None with eval_pairs: the queries then solve for
        the pairs or classes that they are asked for.
    solver_ : str
        The solver used, "cg" or "cholesky"; "cg" too if the run went on with cholesky.
    X_train_ : ndarray of int64, shape (n, 2)
        Training pairs, to which the dual coefficients belong.
    y_train_ : ndarray of int64, shape (n,)
        Their labels.
    operation_ : str or None
        Of the task, if `fit` was given a split that knows it.
    n_iter_ : int
        Updates done: fewer than `iterations` after an early stop.
    classes_ : ndarray, shape (c,)
        The label of each output: 0…c−1, or in ascending order those found in the training data.
    n_features_in_ : int
        Columns of X, 2 or 3.
    """

    def __init__(
        self,
        modulus: int,
        kernel: str | CustomKernel = "quadratic",
        iterations: int = 30,
        bandwidth: float = 2.5,
        ridge: float = 0.0,
        agop_power: float = 0.5,
        centering: str = "per_class",
        backend: str = "auto",
        solver: str = "auto",
        dtype: str = "float32",
        tol: float = 1e-5,
        depth: int = 1,
        n_classes: int | None = None,
        n_tasks: int = 1,
        agop_classes: int | None = None,
        eval_pairs: int | None = None,
        seed: int = 0,
        keep_features: str | int = "all",
        feature_update: str = "agop",
    ) -> None:
        self.modulus = modulus
        self.kernel = kernel
        self.iterations = iterations
        self.bandwidth = bandwidth
        self.ridge = ridge
        self.agop_power = agop_power
        self.centering = centering
        self.backend = backend
        self.solver = solver
        self.dtype = dtype
        self.tol = tol
        self.depth = depth
        self.n_classes = n_classes
        self.n_tasks = n_tasks
        self.agop_classes = agop_classes
        self.eval_pairs = eval_pairs
        self.seed = seed
        self.keep_features = keep_features
        self.feature_update = feature_update

    def fit(
        self,
        X: ArrayLike | Split,
        y: ArrayLike | None = None,
        eval_set: tuple[ArrayLike, ArrayLike] | None = None,
        callbacks: Iterable[Callback] = (),
        feature_matrix: ArrayLike | None = None,
        checkpoint: Mapping[str, NDArray[Any]] | None = None,
        executor: Any = None,
    ) -> RFMClassifier:
        """Run the iterations.

        Parameters
        ----------
        X : array_like of int, shape (n, 2)
            Training pairs, residues in [0, modulus); (n, 3) with several tasks.
            Or a split of a task, without y: its training pairs, evaluated on its test pairs unless
            there is an eval_set.
        y : array_like, shape (n,)
            Labels in [0, n_classes), or other integers or strings, of at most n_classes kinds,
            which make up the classes; integers only in that range if n_classes is given.
        eval_set : (X_test, y_test), optional
            Pairs on which every round is evaluated.
        callbacks : iterable of callable
            Each is called as callback(Round) after every round; a return value of True, and no
            other, ends the run after that round. An exception or Ctrl-C in the middle of a run
            passes through, with all completed rounds kept in the fitted attributes; before the
            first one is complete, an earlier fit stays. A callback's method `close`, if it has
            one, is called when the run ends, however it ends.
        feature_matrix : array_like, shape (2p, 2p), optional
            M_0, symmetric; the identity unless given.
        checkpoint : mapping of str to ndarray, optional
            What `Round.checkpoint` returned in a run with the same data and parameters: go on after
            that round.
        executor : concurrent.futures.Executor or dask.distributed.Client, optional
            Does the solves of a run with eval_pairs: each round's classes and pairs go to it in as
            many parts as it has workers, with M and, for the pairs, their last solutions as starts;
            sums and solutions come back. The history is that of one machine up to rounding. Each
            part uses the threads that its worker's environment sets (OPENBLAS_NUM_THREADS,
            GROKRFM_NUM_THREADS). A part whose worker died is sent once more; if it is lost again
            this process does the rest of the run. The fitted model asks nothing of the executor.

        Returns
        -------
        RFMClassifier
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            For bad parameters or data, before any work.
        RuntimeError
            If the backend cannot be had.
        MemoryError
            If the run cannot fit into the available memory, before any work.

        Warns
        -----
        SolverWarning
            Once, at the end, if solves took their fallback or missed the tolerance; the history
            says which.
        RuntimeWarning
            Once, if the executor was lost.
        """
        settings = self.check_parameters()
        workers = None
        if executor is not None:
            if not settings.few_columns:
                raise ValueError(
                    "executor: expected None without agop_classes and eval_pairs, whose rounds "
                    f"alone go in parts; got {executor!r}"
                )
            workers = Workers(executor, settings.backend)
        run = self.prepare(settings, X, y, eval_set, callbacks, feature_matrix, checkpoint)
        run.workers = workers
        self._complete(settings, make_operations(settings.backend), run)
        run.warn(stacklevel=3)
        return self

    def _complete(self, settings: Settings, operations: Operations, run: Run) -> None:
        """Do a run and become its fitted model, with the rounds that are complete."""
        if settings.few_columns:
            operations = operations.for_few_columns()
        solver = choose_solver(settings, run.data, operations)
        try:
            run_rounds(settings, operations, solver, [run])
        finally:
            self.adopt(settings, operations, solver, run)

    def at_iteration(self, iteration: int) -> RFMClassifier:
        """Return the predictor of a round, with M_t, as a fitted model of its own.

        Of earlier rounds only feature matrices are kept, those that `keep_features` asks for: the
        dual coefficients are solved for anew from the training pairs, by the same solver. They
        agree with those of the run up to its tolerance.

        Parameters
        ----------
        iteration : int
            t, from 0 to `n_iter_`, one of `kept_iterations_`.

        Returns
        -------
        RFMClassifier
            With iterations=0; its history has one row, without test quantities.
        """
        self.require_fit()
        t = checks.check_integer("iteration", iteration, minimum=0, maximum=self.n_iter_)
        changed = {"iterations": 0, "solver": self.solver_}
        model = RFMClassifier(**{**self._settings.parameters, **changed})
        settings = model.check_parameters()
        [found] = np.nonzero(self.kept_iterations_ == t)
        if not found.size:
            raise ValueError(
                "iteration: expected one whose feature matrix was kept, one of "
                f"{', '.join(map(str, self.kept_iterations_))}; got {t}, and keep_features="
                f"{self._settings.parameters['keep_features']!r}"
            )
        start = self.feature_matrices_[found[0]]
        run = model.prepare(settings, self.X_train_, self.y_train_, feature_matrix=start)
        run.data = replace(run.data, operation=self.operation_)
        if self.solver_ == "cg" and self.history_["solver_fallback"][t]:
            run.machine_state = SWITCHED
        model._complete(settings, self._backend.operations, run)
        run.warn(stacklevel=3)
        return model

    def check_parameters(self) -> Settings:
        """Return the parameters as what they stand for.

        Raises
        ------
        TypeError, ValueError
            For the first bad parameter. `fit` checks too.
        """
        return check_settings(self)

    def require_memory(self, n_train: int, n_test: int) -> int:
        """Return the bytes of a run on so many pairs, with checkpoints, before there are any pairs.

        Raises
        ------
        MemoryError
            If they are not available.
        ValueError
            If the feature matrices to keep would take too much.
        """
        settings = self.check_parameters()
        n_tasks, solver = settings.n_tasks, settings.solver
        data = PairData.of_size(n_train, n_test, settings.modulus, settings.n_classes, n_tasks)
        operations = make_operations(settings.backend)
        if settings.few_columns:
            solver = "cg"
        elif solver == "auto":
            off_grid = quadratic_form(settings.kernel) is None and (
                settings.fact or cholesky_fits(data, settings.dtype.itemsize, operations)
            )
            solver = "cholesky" if n_tasks > 1 or off_grid else "cg"
        return require_memory(settings, solver, [data], operations, checkpoints=True)

    def prepare(
        self,
        settings: Settings,
        X: ArrayLike | Split,
        y: ArrayLike | None = None,
        eval_set: tuple[ArrayLike, ArrayLike] | None = None,
        callbacks: Iterable[Callback] = (),
        feature_matrix: ArrayLike | None = None,
        checkpoint: Mapping[str, NDArray[Any]] | None = None,
    ) -> Run:
        """Return the run that `fit` would do; raises what `fit` raises for bad arguments."""
        n_classes = settings.parameters["n_classes"]
        data = check_data(X, y, eval_set, settings.modulus, n_classes, settings.n_tasks)
        checks.check_consistent(data.train, data.train_labels)
        start = None
        if feature_matrix is not None:
            start = checks.check_symmetric("feature_matrix", feature_matrix, data.dimension)
        return Run.new(data, settings, callbacks, start, checkpoint)

    def adopt(self, settings: Settings, operations: Operations, solver: str, run: Run) -> None:
        """Turn the completed rounds of a run, if there are any, into the fitted attributes."""
        if not run.ended:
            return
        self._set_fitted(
            settings,
            FittedBackend(
                settings.backend,
                operations,
                "numpy" if isinstance(settings.kernel, CustomKernel) else "auto",
            ),
            solver,
            run.data,
            columns(run.rows),
            pack_matrices(run.matrices),
            run.dual_coefficients,
        )
