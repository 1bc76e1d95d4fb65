"""Fitted models from the files of `save` and from run folders."""

from __future__ import annotations

import os
from pathlib import Path

from ..files import read_arrays
from ..network import FCNClassifier
from ..rfm import RFMClassifier
from ..tasks import ModularTask
from ..training import MODEL_FORMAT, MODEL_FORMAT_VERSION, stored_history

_ESTIMATORS: dict[str, type[RFMClassifier] | type[FCNClassifier]] = {
    "RFMClassifier": RFMClassifier,
    "FCNClassifier": FCNClassifier,
}


def load(path: str | os.PathLike[str]) -> RFMClassifier | FCNClassifier:
    """Return the fitted model of a file that its `save` wrote.

    Its parameters are those of the fit. A backend that cannot be had here is replaced by what
    "auto" takes for predictions, with a warning in the log; a new `fit` refuses it as ever.

    Raises
    ------
    ValueError
        That names the file, if it is damaged, another one, or of a newer version of the format.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    header, arrays = read_arrays(path)
    if header.get("format") != MODEL_FORMAT:
        raise ValueError(f"{path}: expected a fitted model, got a file of something else")
    version = header.get("format_version")
    if not isinstance(version, int) or not 1 <= version <= MODEL_FORMAT_VERSION:
        raise ValueError(
            f"{path}: expected a model file of format version {MODEL_FORMAT_VERSION} or earlier, "
            f"got {version}, written by grokrfm {header.get('version')}"
        )
    try:
        model = _ESTIMATORS[header["estimator"]](**header["parameters"])
        return model.restore(stored_history(arrays), arrays, header)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected the state of a fitted model, got {error}") from error


def load_run(folder: str | os.PathLike[str]) -> RFMClassifier | FCNClassifier:
    """Return the fitted model of the folder of a complete or interrupted run.

    Raises
    ------
    ValueError
        That names the file, features.npz, if it is damaged or holds something else.
    OSError
        If it is missing or cannot be read.
    """
    path = Path(folder) / "features.npz"
    config, arrays = read_arrays(path)
    history = stored_history(arrays)
    try:
        task = ModularTask(config["operation"], config["modulus"])
        split = task.split(
            config["train_fraction"],
            config["seed"],
            train_count=config.get("train_count"),
            label_noise=config["label_noise"],
        )
        arrays |= {"X_train": split.X_train, "y_train": split.y_train}
        estimator = RFMClassifier if config["command"] == "run" else FCNClassifier
        given = {k: v for k, v in config.items() if k in estimator.parameter_names()}
        model = estimator(**{**given, "n_classes": task.n_classes})
        if isinstance(model, FCNClassifier):
            arrays["matrices/feature_matrix"] = arrays["feature_matrices"]
            arrays["matrix_epochs/feature_matrix"] = arrays["feature_epochs"]
            return model.restore(history, arrays, {})
        solver = "cg" if history["cg_iterations"].any() else "cholesky"
        values = {"solver": solver, "operation": config["operation"]}
        return model.restore(history, arrays, values)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected the features of a run, got {error}") from error
