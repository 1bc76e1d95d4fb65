"""Results of experiments: each in a file of its own, which is there once the run is done."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..files import digest, read_arrays, write_arrays
from .descriptions import RFMRun, run_together
from .task_runs import Experiment, Result

RESULT_VERSION = 1  # grows when the same description stands for other results
_STALE_SECONDS = 3600.0  # no file takes as long to write


class ResultStore:
    """Results of experiments in a folder, each under a name made from its description.

    A run is done if its file is there, whatever the version that did it: the file names that
    version and has a digest of its sources. Several processes may use a folder at the same time;
    of a run that two of them do, one result stays.

    Parameters
    ----------
    folder : Path
        Made if it is not there.

    Raises
    ------
    OSError
        If the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def path(self, experiment: Experiment) -> Path:
        """File of an experiment's result."""
        description = describe(experiment)
        return self.folder / f"{description['experiment']}-{digest(description)[:16]}.npz"

    def stored(self, experiment: Experiment) -> tuple[dict[str, Any], Result] | None:
        """Return header and result of a run that is done, else None.

        A damaged file is warned of and counts as none.
        """
        path, description = self.path(experiment), describe(experiment)
        try:
            header, arrays = read_arrays(path)
            if all(header.get(key) == value for key, value in description.items()):
                return header, arrays
            reason = f"{path}: the result of another experiment"
        except FileNotFoundError:
            return None
        except ValueError as error:
            reason = str(error)
        warnings.warn(f"{reason}; made anew", stacklevel=2)
        return None

    def result(self, experiment: Experiment) -> Result:
        """Return the result, from its file or else by a run; `run_seconds` is that run's time."""
        return self.completed(experiment)[1]

    def completed(self, experiment: Experiment) -> tuple[dict[str, Any], Result]:
        """Return header and result, from the file or else by a run."""
        if (done := self.stored(experiment)) is not None:
            return done
        began = time.perf_counter()
        result = experiment.run()
        return self._write(experiment, result, time.perf_counter() - began)

    def completed_together(self, runs: Sequence[RFMRun]) -> list[tuple[dict[str, Any], Result]]:
        """Do runs that a batched backend takes several at a time; as `completed`, one each."""
        results = run_together(runs)
        return [
            self._write(run, result, float(result["seconds"].sum()))
            for run, result in zip(runs, results, strict=True)
        ]

    def _write(
        self, experiment: Experiment, result: Result, seconds: float
    ) -> tuple[dict[str, Any], Result]:
        header = {**describe(experiment), "version": __version__, "sources": sources()}
        result = {**result, "run_seconds": np.array(seconds)}
        write_arrays(self.path(experiment), result, header)
        return header, result

    def remove_stale_parts(self) -> None:
        """Remove what writers that were killed have left, but of none that may be at work."""
        for part in self.folder.glob("*.part"):
            try:
                if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                    part.unlink(missing_ok=True)
            except FileNotFoundError:  # its writer is done
                continue


def describe(experiment: Experiment) -> dict[str, Any]:
    """What the result depends on, as JSON has it.

    Fields that are None are left out, and those marked `LATER` at their default, so that new ones
    come in without new names of files.
    """
    given = {}
    for each in fields(experiment):  # type: ignore[arg-type]
        value = getattr(experiment, each.name)
        if value is not None and not (each.metadata.get("later") and value == each.default):
            given[each.name] = value
    described = {
        "experiment": type(experiment).__name__,
        "fields": given,
        "result_version": RESULT_VERSION,
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))  # tuples become lists
    return plain


@cache
def sources() -> str:
    """Digest of the modules and extensions that results depend on."""
    sha256, root = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.suffix in (".py", ".so", ".pyd") and name.parts[0] not in ("figures", "cli"):
            sha256.update(str(name).encode() + path.read_bytes())
    return sha256.hexdigest()
