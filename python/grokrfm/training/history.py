"""Rows of the history, and checkpoints of a run in progress."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..operations import Operations
from ..tasks import PairData

Row = dict[str, float]
Checkpoint = dict[str, NDArray[Any]]

FORMAT = 1  # of checkpoints; another one is refused
_COLUMN, _PRESENT = "history/", "history_rows/"  # a column, and its rows where some lack it


class Recorded(Protocol):
    """What run folders and progress bars need of a round or an epoch."""

    @property
    def record(self) -> Row: ...

    @property
    def memory(self) -> int: ...

    @property
    def checkpoint(self) -> Callable[[], Checkpoint]: ...


def any_stops(
    operations: Operations, callbacks: Sequence[Callable[[Any], object]], current: Recorded
) -> bool:
    """Call every callback, whatever the others return; whether one of them ends the run: with True.

    Any other value, such as the count that a progress bar returns, does not. Meanwhile BLAS has the
    threads that its user gave it.
    """
    if not callbacks:
        return False
    with operations.device.users_threads():
        results = [callback(current) for callback in callbacks]
    return any(isinstance(result, bool | np.bool_) and bool(result) for result in results)


@contextmanager
def closing(callbacks: Iterable[object]) -> Iterator[None]:
    """Call the method `close` of every callback that has one when the run ends, however it ends."""
    with ExitStack() as stack:
        for callback in callbacks:
            if callable(close := getattr(callback, "close", None)):
                stack.callback(close)
        yield


def columns(rows: list[Row]) -> dict[str, NDArray[Any]]:
    """One array a key; NaN where a row lacks it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: np.array([row.get(key, np.nan) for row in rows]) for key in keys}


def fingerprint(data: PairData, parameters: Mapping[str, Any]) -> str:
    """What a checkpoint belongs to: digest of the format, pairs, labels and parameters.

    Parameters that are None are left out, so that new ones come in without a new format.
    """
    given = sorted((name, value) for name, value in parameters.items() if value is not None)
    sha256 = hashlib.sha256(repr((FORMAT, data.n_classes, given)).encode())
    for array in (data.train, data.train_labels, data.test, data.test_labels):
        sha256.update(repr(array.shape).encode() + array.tobytes())
    return sha256.hexdigest()


def pack(rows: list[Row], arrays: Mapping[str, NDArray[Any]], belongs_to: str) -> Checkpoint:
    """Return everything from which a run goes on: its rows so far, and the arrays of its state.

    `belongs_to` is the run's `fingerprint`. A checksum covers it all.
    """
    checkpoint: Checkpoint = {"rows": np.array(len(rows)), **arrays}
    for key, values in columns(rows).items():
        present = np.array([key in row for row in rows])
        checkpoint[_COLUMN + key] = values[present]
        if not present.all():
            checkpoint[_PRESENT + key] = np.flatnonzero(present)
    checkpoint["fingerprint"] = np.array(belongs_to)
    checkpoint["checksum"] = np.array(_checksum(checkpoint))
    return checkpoint


def check_checkpoint(checkpoint: Mapping[str, NDArray[Any]], belongs_to: str) -> None:
    """Raise ValueError unless a checkpoint is what `pack` returned for a run of this fingerprint.

    Raises
    ------
    TypeError
        If it is no mapping.
    """
    if not isinstance(checkpoint, Mapping):
        raise TypeError(f"checkpoint: expected a mapping, got {type(checkpoint).__name__}")
    stored = {name: np.asarray(array) for name, array in checkpoint.items()}
    if str(stored.pop("checksum", "")) != _checksum(stored):
        raise ValueError(
            "checkpoint: expected the arrays of a round's or an epoch's checkpoint, "
            "got damaged or other ones"
        )
    if str(stored["fingerprint"]) != belongs_to:
        raise ValueError(
            "checkpoint: expected one of a run with the same data and parameters, got another's"
        )


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    sha256 = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        sha256.update(repr((name, array.dtype.str, array.shape)).encode())
        # Numbers without a copy; text is short.
        numbers = array.dtype.kind in "biufc"
        sha256.update(np.ascontiguousarray(array).data if numbers else array.tobytes())
    return sha256.hexdigest()


def unpack_rows(checkpoint: Mapping[str, NDArray[Any]]) -> list[Row]:
    """Rows from what `pack` returned."""
    rows: list[Row] = [{} for _ in range(int(checkpoint["rows"]))]
    for name, values in checkpoint.items():
        if name.startswith(_COLUMN):
            key = name.removeprefix(_COLUMN)
            present = checkpoint.get(_PRESENT + key, np.arange(len(rows)))
            for t, value in zip(present, values, strict=True):
                rows[t][key] = float(value)
    return rows


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
