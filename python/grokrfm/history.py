"""Rows of the history: what a callback sees, and checkpoints of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Row = dict[str, float]
Checkpoint = dict[str, NDArray[Any]]


class Recorded(Protocol):
    """What a run folder needs of a round or an epoch."""

    @property
    def record(self) -> Row: ...

    @property
    def checkpoint(self) -> Callable[[], Checkpoint]: ...


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
        M_t; d = 2p, and a row for each task bit.
    checkpoint : callable
        Returns arrays from which `RFMClassifier.fit` goes on after this round to the same history
        as if it had never stopped.
    """

    iteration: int
    iterations: int
    modulus: int
    record: dict[str, float]
    feature_matrix: NDArray[Any]
    checkpoint: Callable[[], Checkpoint]


Callback = Callable[[Round], object]


def columns(rows: list[Row]) -> dict[str, NDArray[Any]]:
    """One array a key; NaN where a row lacks it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: np.array([row.get(key, np.nan) for row in rows]) for key in keys}


def pack_rows(rows: list[Row]) -> Checkpoint:
    """Columns under names of their own."""
    return {f"history/{key}": values for key, values in columns(rows).items()}


def unpack_rows(checkpoint: Mapping[str, NDArray[Any]]) -> list[Row]:
    """Rows from what `pack_rows` returned."""
    stored = {
        key.removeprefix("history/"): values
        for key, values in checkpoint.items()
        if key.startswith("history/")
    }
    count = len(next(iter(stored.values())))
    return [{key: float(values[t]) for key, values in stored.items()} for t in range(count)]


def unpack(
    checkpoint: Mapping[str, NDArray[Any]], dimension: int
) -> tuple[list[Row], list[NDArray[Any]], NDArray[Any]]:
    """Rows, feature matrices and the next feature matrix."""
    M = checkpoint["next_feature_matrix"]
    if M.shape != (dimension, dimension):
        raise ValueError(
            f"checkpoint: expected a feature matrix of shape "
            f"{(dimension, dimension)}, got {M.shape}"
        )
    return unpack_rows(checkpoint), list(checkpoint["feature_matrices"]), M


def pack(
    rows: list[Row],
    matrices: list[NDArray[Any]],
    next_matrix: NDArray[Any],
    machine_state: Mapping[str, NDArray[Any]],
) -> Checkpoint:
    """Return everything from which a run goes on after its last row."""
    return {
        "feature_matrices": np.stack(matrices),
        "next_feature_matrix": next_matrix,
        **pack_rows(rows),
        **machine_state,
    }
