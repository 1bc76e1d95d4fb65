"""Rows of the history, and checkpoints of a run in progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Row = dict[str, float]
Checkpoint = dict[str, NDArray[Any]]

_PREFIX = "history/"  # of the columns of the history in a checkpoint


class Recorded(Protocol):
    """What a run folder needs of a round or an epoch."""

    @property
    def record(self) -> Row: ...

    @property
    def checkpoint(self) -> Callable[[], Checkpoint]: ...


def any_stops(callbacks: Iterable[Callable[[Any], object]], current: Recorded) -> bool:
    """Call every callback, whatever the others return; whether one of them ends the run."""
    return any([callback(current) for callback in callbacks])


def columns(rows: list[Row]) -> dict[str, NDArray[Any]]:
    """One array a key; NaN where a row lacks it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: np.array([row.get(key, np.nan) for row in rows]) for key in keys}


def pack(rows: list[Row], arrays: Mapping[str, NDArray[Any]]) -> Checkpoint:
    """Return everything from which a run goes on: its rows so far, and the arrays of its state."""
    return {**{_PREFIX + key: values for key, values in columns(rows).items()}, **arrays}


def unpack_rows(checkpoint: Mapping[str, NDArray[Any]]) -> list[Row]:
    """Rows from what `pack` returned."""
    stored = {
        key.removeprefix(_PREFIX): values
        for key, values in checkpoint.items()
        if key.startswith(_PREFIX)
    }
    count = len(next(iter(stored.values())))
    return [{key: float(values[t]) for key, values in stored.items()} for t in range(count)]


def unpack_array(
    checkpoint: Mapping[str, NDArray[Any]], name: str, shape: tuple[int | None, ...], dtype: Any
) -> NDArray[Any]:
    """An array of what `pack` returned, of that dtype and shape; None stands for any extent.

    Raises
    ------
    ValueError
        If it is missing or another one.
    """
    array = checkpoint.get(name)
    fits = (
        array is not None
        and array.dtype == dtype
        and array.ndim == len(shape)
        and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    )
    if array is None or not fits:
        expected = ", ".join("any" if extent is None else str(extent) for extent in shape)
        found = "none" if array is None else f"{array.dtype} of shape {array.shape}"
        raise ValueError(
            f"checkpoint: expected an array {name}, {np.dtype(dtype)} of shape ({expected}), "
            f"got {found}"
        )
    return array
