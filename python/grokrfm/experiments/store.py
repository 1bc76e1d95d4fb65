"""Results of experiments: each is run once and its result kept in a file of its own."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..files import digest, read_arrays, write_arrays
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
        description = _description(experiment)
        return self.folder / f"{description['experiment']}-{digest(description)[:16]}.npz"

    def result(self, experiment: Experiment) -> Result:
        """Return the result, from its file or else by a run; `run_seconds` is that run's time.

        A damaged file is warned of and made anew.
        """
        path, description = self.path(experiment), _description(experiment)
        if path.exists():
            try:
                header, arrays = read_arrays(path)
                if header == description:
                    return arrays
                reason = f"{path}: the result of another experiment"
            except ValueError as error:
                reason = str(error)
            warnings.warn(f"{reason}; made anew", stacklevel=2)
        began = time.perf_counter()
        result = experiment.run()
        result["run_seconds"] = np.array(time.perf_counter() - began)
        write_arrays(path, result, description)
        return result


def _description(experiment: Experiment) -> dict[str, Any]:
    """What the result depends on, as JSON has it."""
    fields = asdict(experiment)  # type: ignore[call-overload]
    described = {"experiment": type(experiment).__name__, "fields": fields, "sources": _sources()}
    plain: dict[str, Any] = json.loads(json.dumps(described))  # tuples become lists
    return plain


@cache
def _sources() -> str:
    """Digest of the modules and extensions that results depend on."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.suffix in (".py", ".so", ".pyd") and name.parts[0] not in ("figures", "cli"):
            digest.update(str(name).encode() + path.read_bytes())
    return digest.hexdigest()
