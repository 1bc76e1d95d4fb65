"""The run folder: config.json, metrics.jsonl, checkpoint.npz, features.npz, run.png.

Whatever ends a run, its folder says how far it is (`status` of config.json) and holds what it goes
on from (checkpoint.npz). Of a damaged folder nothing is taken: both files carry checksums,
checkpoint.npz the settings too, and everything else is an output, written anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import (
    append_line,
    digest,
    is_unused,
    locked,
    read_arrays,
    remove_parts,
    write_arrays,
    write_atomically,
)
from ..training import Checkpoint, Recorded, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUNNING, INTERRUPTED, COMPLETE = "running", "interrupted", "complete"
# May change when a run goes on; all other settings are what its checkpoint belongs to.
CHANGEABLE = ("iterations", "epochs", "stop_accuracy", "checkpoint_every")
_NO_SETTINGS = ("status", "version", "build")


class RunFolder:
    """A run folder that this process alone writes to, until the end of its `with` block.

    Attributes
    ----------
    path : Path
    config : dict
        What config.json says, its checksum apart.
    """

    def __init__(self, path: Path, config: dict[str, Any], lock: ExitStack) -> None:
        self.path, self.config, self._lock = path, config, lock

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> RunFolder:
        """Make the folder, its parents too, and write config.json.

        Raises
        ------
        FileExistsError
            If the folder is there and not empty.
        BlockingIOError
            If another process uses it.
        """
        path.mkdir(parents=True, exist_ok=True)
        _require_unused(path)  # before a lock is left in a folder that is not ours
        with ExitStack() as lock:
            lock.enter_context(locked(path))
            _require_unused(path)
            remove_parts(path)
            folder = cls(path, dict(config), lock)
            folder.begin()
            folder._lock = lock.pop_all()
        return folder

    @classmethod
    def reopen(cls, path: Path) -> tuple[RunFolder, Checkpoint | None]:
        """Return the folder of an earlier run, and its last checkpoint, if any. Changes nothing.

        Raises
        ------
        FileNotFoundError
            If there is no run.
        ValueError
            That names the file, if one is damaged or another run's.
        BlockingIOError
            If another process uses the folder.
        """
        if not (path / "config.json").exists():
            raise FileNotFoundError(f"{path}: no run to resume, config.json is missing")
        with ExitStack() as lock:
            lock.enter_context(locked(path))
            remove_parts(path)
            folder = cls(path, _read_config(path / "config.json"), lock)
            checkpoint = folder._read_checkpoint()
            folder._lock = lock.pop_all()
        return folder, checkpoint

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.close()

    @property
    def _settings(self) -> dict[str, Any]:
        left_out = (*_NO_SETTINGS, *CHANGEABLE)
        return {key: value for key, value in self.config.items() if key not in left_out}

    def begin(self, rows: Iterable[Row] = (), **changes: Any) -> None:
        """The run starts, or goes on after these rows with changed settings."""
        self.config.update(changes)
        self.set_status(RUNNING)
        text = "".join(_line(row) + "\n" for row in rows)
        write_atomically(self.path / "metrics.jsonl", lambda file: file.write(text.encode()))

    def set_status(self, status: str) -> None:
        """Write config.json with this status."""
        self.config = {"status": "", **self.config} | {"status": status}
        text = json.dumps({**self.config, "checksum": digest(self.config)}, indent=2) + "\n"
        write_atomically(self.path / "config.json", lambda file: file.write(text.encode()))

    def store_checkpoint(self, current: Recorded) -> None:
        """Replace checkpoint.npz by the state after this round."""
        header = {"kind": "checkpoint", "settings": self._settings}
        write_arrays(self.path / "checkpoint.npz", current.checkpoint(), header)

    def _read_checkpoint(self) -> Checkpoint | None:
        path = self.path / "checkpoint.npz"
        if not path.exists():
            return None
        header, arrays = read_arrays(path)
        if header.get("kind") != "checkpoint":
            raise ValueError(f"{path}: expected a checkpoint, got {header.get('kind')}")
        stored, settings = header["settings"], self._settings
        if stored != settings:
            name = next(
                key for key in {**stored, **settings} if stored.get(key) != settings.get(key)
            )
            raise ValueError(
                f"{path}: expected the checkpoint of a run with {name}={settings.get(name)}, as in "
                f"config.json, got one with {name}={stored.get(name)}"
            )
        return arrays

    def append(self, current: Recorded) -> None:
        """Append the round's record as a line of JSON (a callback of `fit`)."""
        append_line(self.path / "metrics.jsonl", _line(current.record))

    def discard(self) -> None:
        """Remove the folder of a run without a complete round."""
        shutil.rmtree(self.path)

    def finish(
        self, status: str, arrays: Mapping[str, NDArray[Any]], draw: Callable[[], Figure]
    ) -> str | None:
        """Write the arrays to features.npz, the figure to run.png, and the status.

        Returns
        -------
        str or None
            Why there is no picture.
        """
        described = {k: v for k, v in self.config.items() if k not in ("status", "build")}
        header = {"kind": "run", **described}
        write_arrays(self.path / "features.npz", arrays, header)
        missing = None
        try:
            figure = draw()
        except ImportError:
            missing = "no picture: matplotlib is missing (pip install 'grokrfm[plot]')"
        else:
            write_atomically(
                self.path / "run.png", lambda file: figure.savefig(file, format="png", dpi=150)
            )
        self.set_status(status)
        return missing


def _require_unused(path: Path) -> None:
    if not is_unused(path):
        raise FileExistsError(f"{path}: the run folder is there already and not empty")


def _line(row: Row) -> str:
    """A row of metrics.jsonl; NaN, a quantity that is not defined, is null."""
    return json.dumps({key: value if np.isfinite(value) else None for key, value in row.items()})


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
        checksum = config.pop("checksum")
        if checksum != digest(config):
            raise ValueError("another checksum")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path}: expected the settings of a run with their checksum, got damaged, edited or "
            "other ones"
        ) from error
    return dict(config)


def new_folder(base: Path) -> Path:
    """Make `base`, or base-2, base-3 …, the first that is not there, and return it."""
    path, number = base, 1
    while True:
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
            path = base.with_name(f"{base.name}-{number}")
        else:
            return path
