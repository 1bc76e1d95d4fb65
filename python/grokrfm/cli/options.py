"""Options of the commands that train: what a command is, and its parser."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..tasks import OPERATIONS
from ..training import DTYPES, Estimator, Row

# What text stands for, names to choose from, help
Option = tuple[Callable[[str], object], Sequence[str] | None, str]
DTYPE: Option = (str, DTYPES, "precision of the run")


def backend_option(names: Sequence[str]) -> Option:
    """The option of an estimator with these backends."""
    return str, names, "where the operations run"


@dataclass(frozen=True)
class TrainingCommand:
    """A command that trains one estimator on one task.

    Attributes
    ----------
    name, help, description : str
        For the parser.
    examples : tuple of str
        Options of each.
    estimator : type
        Its parameters are the options, the number of classes apart.
    unit : str
        What is counted, "iteration" or "epoch": the column of the history, and with an s the
        parameter of the estimator.
    options : dict of str to Option
        Parameter of the estimator -> option.
    seeds : str
        What --seed is the seed of.
    checkpoint_every : int
        Default of --checkpoint-every.
    label, folder : callable
        Options -> what is trained, for the title and for the name of the run folder.
    callbacks : callable
        Options -> callbacks that add to the history.
    columns : callable
        Row of the history -> what the progress line says beside the accuracies.
    arrays : callable
        Estimator -> content of features.npz.
    summary : callable
        Estimator -> end of the summary.
    run_options : dict of str to (default, help)
        Integer options of the run that are not the estimator's.
    """

    name: str
    help: str
    description: str
    examples: tuple[str, ...]
    estimator: type[Estimator]
    unit: str
    options: dict[str, Option]
    seeds: str
    checkpoint_every: int
    label: Callable[[argparse.Namespace], str]
    folder: Callable[[argparse.Namespace], str]
    callbacks: Callable[[argparse.Namespace], list[Callable[[Any], object]]]
    columns: Callable[[Row], str]
    arrays: Callable[[Any], dict[str, NDArray[Any]]]
    summary: Callable[[Any], str]
    run_options: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def defaults(self) -> dict[str, Any]:
        """Every setting of a run that has a default."""
        parameters = inspect.signature(self.estimator).parameters.values()
        of_estimator = {p.name: p.default for p in parameters if p.default is not p.empty}
        return {
            "operation": "x+y",
            "train_fraction": 0.5,
            "seed": 0,
            "label_noise": 0.0,
            **{name: {"modulus": 61, **of_estimator}[name] for name in self.options},
            "checkpoint_every": self.checkpoint_every,
            **{name: default for name, (default, _) in self.run_options.items()},
        }


def add_options(parser: argparse.ArgumentParser, command: TrainingCommand) -> None:
    """Add the options of a command. Those not given leave no trace: --resume tells them apart."""
    defaults = command.defaults

    def add(group: argparse._ActionsContainer, name: str, text: str, **how: Any) -> None:
        default = f" (default: {defaults[name]})" if name in defaults else ""
        option = "--" + name.replace("_", "-")
        group.add_argument(option, help=text + default, default=argparse.SUPPRESS, **how)

    task = parser.add_argument_group("task")
    add(task, "operation", "one of: " + "; ".join(OPERATIONS), metavar="OPERATION")
    size = task.add_mutually_exclusive_group()
    share = {"type": float, "metavar": "SHARE"}
    add(size, "train_fraction", "share of all pairs that is trained on", **share)
    number = {"type": int, "metavar": "N"}
    add(size, "train_count", "number of training pairs, instead of a fraction", **number)
    add(task, "seed", f"seed of {command.seeds}", **number)
    add(task, "label_noise", "share of the training labels replaced by wrong ones", **share)
    group = parser.add_argument_group("estimator")
    for name, (kind, choices, text) in command.options.items():
        names = "" if choices is None else f": {', '.join(choices)}"
        add(group, name, text + names, type=kind, metavar=None if choices is None else "NAME")
    group = parser.add_argument_group("run")
    unit, changed = command.unit, f"--{command.unit}s"
    first = f"end after the first {unit} with at least this test accuracy"
    add(group, "stop_accuracy", first, **share)
    every = f"store the state of the run after so many {unit}s and at its end; 0: if interrupted"
    add(group, "checkpoint_every", every, **number)
    for name, (_, text) in command.run_options.items():
        add(group, name, text, **number)
    resume = (
        "go on with the run of this folder, interrupted or, with more "
        f"{changed}, complete; its settings hold, but for {changed}, --stop-accuracy and "
        "--checkpoint-every"
    )
    folder = {"type": _path, "metavar": "FOLDER"}
    add(group, "resume", resume, **folder)
    add(group, "output", "run folder to make (default: a new one under runs/)", **folder)


def _path(text: str) -> Path:
    return Path(text).expanduser()
