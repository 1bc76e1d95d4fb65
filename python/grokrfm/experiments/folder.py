"""The run folder: config.json, metrics.jsonl, features.npz, run.png; checkpoint.npz on the way."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import write_atomically
from ..training import Checkpoint, Recorded, unpack_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RunFolder:
    """Writes a run as it goes on. Made by `create` or `reopen`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: dict[str, Any]) -> RunFolder:
        """Make the folder, its parents too, and write config.json.

        Raises
        ------
        FileExistsError
            If the folder is there and not empty.
        """
        if path.is_dir() and any(path.iterdir()):
            raise FileExistsError(f"{path}: the run folder is there already and not empty")
        path.mkdir(parents=True, exist_ok=True)
        text = json.dumps(config, indent=2) + "\n"
        write_atomically(path / "config.json", lambda file: file.write(text.encode()))
        (path / "metrics.jsonl").touch()
        return cls(path)

    @classmethod
    def reopen(cls, path: Path) -> tuple[RunFolder, dict[str, Any], Checkpoint | None]:
        """Return the folder of a broken run, its config and its last checkpoint, if any.

        metrics.jsonl goes back to the rounds of the checkpoint.

        Raises
        ------
        FileNotFoundError
            If there is no run, or it is complete.
        """
        if not (path / "config.json").exists():
            raise FileNotFoundError(f"{path}: no run to resume, config.json is missing")
        config = json.loads((path / "config.json").read_text())
        stored = path / "checkpoint.npz"
        if not stored.exists():
            if (path / "features.npz").exists():
                raise FileNotFoundError(f"{path}: the run is complete, nothing to resume")
            (path / "metrics.jsonl").write_text("")
            return cls(path), config, None
        with np.load(stored, allow_pickle=False) as arrays:
            checkpoint = dict(arrays)
        rounds = len(unpack_rows(checkpoint))
        lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)[:rounds]
        write_atomically(path / "metrics.jsonl", lambda file: file.write("".join(lines).encode()))
        return cls(path), config, checkpoint

    def store_checkpoint(self, current: Recorded) -> None:
        """Replace checkpoint.npz by the state after this round."""
        arrays: dict[str, Any] = current.checkpoint()
        write_atomically(self.path / "checkpoint.npz", lambda file: np.savez(file, **arrays))

    def drop_checkpoint(self) -> None:
        """Remove checkpoint.npz: the run is complete."""
        (self.path / "checkpoint.npz").unlink(missing_ok=True)

    def append(self, current: Recorded) -> None:
        """Append the round's record as a line of JSON (a callback of `fit`).

        NaN, a quantity that is not defined, is written as null.
        """
        record = {
            key: value if np.isfinite(value) else None for key, value in current.record.items()
        }
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())  # before the checkpoint that counts on it

    def discard(self) -> None:
        """Remove the folder of a run without a complete round."""
        shutil.rmtree(self.path)

    def finish(self, arrays: Mapping[str, NDArray[Any]], draw: Callable[[], Figure]) -> str | None:
        """Write the arrays to features.npz and the figure to run.png.

        Returns
        -------
        str or None
            Why there is no picture.
        """
        stored: dict[str, Any] = dict(arrays)
        write_atomically(self.path / "features.npz", lambda file: np.savez(file, **stored))
        try:
            import matplotlib
        except ImportError:
            return "no picture: matplotlib is missing (pip install 'grokrfm[plot]')"
        matplotlib.use("Agg")
        figure = draw()
        write_atomically(
            self.path / "run.png", lambda file: figure.savefig(file, format="png", dpi=150)
        )
        return None


def unused_path(base: Path) -> Path:
    """Return `base`, or base-2, base-3 …, the first that is not there."""
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path
