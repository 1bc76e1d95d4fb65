"""Results of experiments: each is run once and its result kept in a file of its own."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..files import write_atomically
from .descriptions import Experiment, Result


class ResultStore:
    """Results of experiments in a folder, each under a name made from its description.

    The name depends on the sources of grokrfm too (figures and command line apart): another version
    runs anew.

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
        name = type(experiment).__name__
        fields = asdict(experiment)  # type: ignore[call-overload]
        text = json.dumps([_sources(), name, fields], sort_keys=True)
        return self.folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"

    def result(self, experiment: Experiment) -> Result:
        """Return the result, from its file or else by a run; `run_seconds` is that run's time.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        path = self.path(experiment)
        if not path.exists():
            began = time.perf_counter()
            arrays: dict[str, Any] = experiment.run()
            arrays["run_seconds"] = np.array(time.perf_counter() - began)
            write_atomically(path, lambda file: np.savez_compressed(file, **arrays))
            return arrays
        try:
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, EOFError, ValueError, BadZipFile) as error:
            raise ValueError(f"{path}: a damaged result, to be removed ({error})") from error


@cache
def _sources() -> str:
    """Digest of the modules and extensions that results depend on."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.suffix in (".py", ".so", ".pyd") and name.parts[0] not in ("figures", "cli"):
            digest.update(str(name).encode() + path.read_bytes())
    return digest.hexdigest()
