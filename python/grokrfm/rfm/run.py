"""A run in progress: its data, its rows and feature matrices so far, what callbacks see of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.features import alignment
from ..tasks import PairData
from ..training import Checkpoint, Row, check_checkpoint, unpack_array, unpack_rows
from .evaluation import SolverWarning
from .parts import Workers
from .settings import Settings
from .switching import SWITCHED


@dataclass(frozen=True)
class Round:
    """What a callback sees after each round.

    Attributes
    ----------
    iteration : int
        t: the predictor was solved with M_t.
    iterations : int
        T, the number of updates asked for.
    modulus : int
        p.
    record : dict of str to float
        The new row of the history. What a callback adds becomes a column of `history_`.
    feature_matrix : ndarray, shape (d, d)
        M_t, read-only; d = 2p, and a row for each task bit.
    memory : int
        Bytes that the run takes at most, with those that go in step with it.
    checkpoint : callable
        Returns arrays from which `RFMClassifier.fit` goes on after this round to the same history
        as if it had never stopped.
    """

    iteration: int
    iterations: int
    modulus: int
    record: dict[str, float]
    feature_matrix: NDArray[Any]
    memory: int
    checkpoint: Callable[[], Checkpoint]


Callback = Callable[[Round], object]


@dataclass
class Run:
    """A run: its data, callbacks and start, and the rounds that are complete.

    Attributes
    ----------
    start : ndarray, shape (d, d), or None
        The next feature matrix to solve with; None for the identity.
    rows : list
        Of the completed rounds.
    matrices : dict of int to ndarray
        Round -> its feature matrix: those kept, ascending, and always that of the last row.
    keep_every : int or None
        As in `Settings`.
    complaints : dict of int to str
        Of rounds whose solve is not what it should be.
    machine_state : mapping
        What its machine goes on from, of a checkpoint; empty for a new run.
    ended : bool
        Whether there will be no further rounds.
    spent : float
        Seconds that the coming round has taken already.
    workers : Workers or None
        Who solves for the columns of its rounds; None: this process.
    dual_coefficients : ndarray, shape (n, c), or None
        Of the last complete round, once the run has ended; None of a run that solves for a few
        classes only.
    """

    data: PairData
    callbacks: tuple[Callback, ...]
    start: NDArray[Any] | None = None
    rows: list[Row] = field(default_factory=list)
    matrices: dict[int, NDArray[Any]] = field(default_factory=dict)
    keep_every: int | None = 1
    complaints: dict[int, str] = field(default_factory=dict)
    machine_state: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    ended: bool = False
    spent: float = 0.0
    workers: Workers | None = None
    dual_coefficients: NDArray[Any] | None = None

    @classmethod
    def new(
        cls,
        data: PairData,
        settings: Settings,
        callbacks: Iterable[Callback] = (),
        start: NDArray[Any] | None = None,
        checkpoint: Mapping[str, NDArray[Any]] | None = None,
    ) -> Run:
        """Return a run from M_0 = `start`, the identity unless given, or on from a checkpoint.

        Raises
        ------
        ValueError
            If the checkpoint does not go with the data and settings.
        """
        d = data.dimension
        run = cls(data, tuple(callbacks), start, keep_every=settings.keep_every)
        if checkpoint is None:
            return run
        check_checkpoint(checkpoint, settings.fingerprint(data))
        run.start = unpack_array(checkpoint, "next_feature_matrix", (d, d), settings.dtype)
        run.rows = unpack_rows(checkpoint)
        kept, matrices = unpack_matrices(checkpoint, d, settings.dtype)
        run.matrices = dict(zip(kept.tolist(), matrices, strict=True))
        run.machine_state = checkpoint
        if len(run.rows) > settings.iterations + 1:
            raise ValueError(
                f"checkpoint: expected one of a run with at least {len(run.rows) - 1} iterations, "
                f"got iterations={settings.iterations}"
            )
        return run

    def add(self, row: Row, matrix: NDArray[Any]) -> None:
        """A round is complete."""
        t = len(self.rows)
        self.matrices[t] = matrix
        self.rows.append(row)
        if not self._keeps(t - 1):
            self.matrices.pop(t - 1, None)

    def _keeps(self, t: int) -> bool:
        return self.keep_every is not None and t % self.keep_every == 0

    @property
    def last_matrix(self) -> NDArray[Any]:
        """Feature matrix of the last complete round."""
        return self.matrices[len(self.rows) - 1]

    def switch(self, M: NDArray[Any], seconds: float) -> None:
        """Have the present round, with M, and all further ones solved otherwise than by cg."""
        self.start, self.machine_state, self.spent = M, SWITCHED, seconds
        self.complaints[len(self.rows)] = (
            "conjugate gradients missed the tolerance; from here on Cholesky in double precision."
        )

    def end(self, dual_coefficients: NDArray[Any] | None) -> None:
        """No further rounds: add to the rows what only the last feature matrix tells."""
        last = len(self.rows) - 1
        self.matrices = {
            t: matrix
            for t, matrix in self.matrices.items()
            if t == last or (t < last and self._keeps(t))  # one more of a round broken off
        }
        self.ended, self.dual_coefficients = True, dual_coefficients
        for t, row in enumerate(self.rows):
            known = t in self.matrices
            row["feature_alignment"] = (
                alignment(self.matrices[t], self.last_matrix) if known else float("nan")
            )

    def warn(self, stacklevel: int) -> None:
        """Warn once of all complaints, in the name of the caller of `fit`."""
        if not self.complaints:
            return
        first, complaint = next(iter(self.complaints.items()))
        message = f"iteration {first}: {complaint}"
        if others := len(self.complaints) - 1:
            worst = max(self.rows[t]["residual"] for t in self.complaints)
            message += (
                f" The same in {others} later iterations, largest relative residual {worst:.1e}; "
                "the history has them all."
            )
        warnings.warn(message, SolverWarning, stacklevel)


def pack_matrices(matrices: Mapping[int, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Feature matrices by round as arrays for a file."""
    return {
        "feature_matrices": np.stack(list(matrices.values())),
        "kept_iterations": np.array(list(matrices), dtype=np.int64),
    }


def unpack_matrices(
    arrays: Mapping[str, NDArray[Any]], dimension: int, dtype: Any
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Rounds and their feature matrices, (k,) and (k, d, d); all rounds in an earlier version's.

    Raises
    ------
    ValueError
        If they are missing or other ones.
    """
    matrices = unpack_array(arrays, "feature_matrices", (None, dimension, dimension), dtype)
    kept = np.arange(len(matrices))
    if "kept_iterations" in arrays:
        kept = unpack_array(arrays, "kept_iterations", kept.shape, np.int64)
    if len(kept) == 0 or kept[0] < 0 or (np.diff(kept) <= 0).any():
        raise ValueError(f"kept_iterations: expected rounds in ascending order, got {kept}")
    return kept, matrices
