"""Training from the command line: run folder, progress, checkpoints, summary.

One life cycle for every estimator; what a command adds to it stands in `run` and `train_net`.
"""

from __future__ import annotations

import argparse
import shlex
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..checks import check_fraction, check_integer, check_real
from ..experiments import CHANGEABLE, COMPLETE, INTERRUPTED, RunFolder, new_folder
from ..figures import off_screen, plot_run
from ..operations import build_info
from ..signals import exit_status, postponed
from ..tasks import ModularTask, Split, check_operation
from ..training import Checkpoint, Recorded, Row, unpack_rows
from .options import TrainingCommand, add_options
from .progress import Progress

GROKKED = 0.99  # test accuracy that counts as generalising


def add_to(commands: argparse._SubParsersAction[Any], command: TrainingCommand) -> None:
    """Add the parser of a command that trains."""
    examples = "".join(f"\n  grokrfm {command.name} {options}" for options in command.examples)
    parser = commands.add_parser(
        command.name,
        help=command.help,
        description=command.description,
        epilog=f"examples:{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=partial(_train, command))
    add_options(parser, command)


@dataclass(frozen=True)
class _Plan:
    """A run that can start: its settings were checked."""

    command: TrainingCommand
    settings: argparse.Namespace
    task: ModularTask
    split: Split
    model: Any
    recorders: list[Callable[[Any], object]]
    memory: int  # bytes

    @property
    def total(self) -> int:
        """How many iterations or epochs were asked for."""
        return int(getattr(self.settings, self.command.unit + "s"))

    @property
    def title(self) -> str:
        return (
            f"{self.settings.operation} mod {self.settings.modulus}, {len(self.split.X_train)} of "
            f"{len(self.task.pairs)} pairs, {self.command.label(self.settings)}"
        )

    def ends_with(self, row: Row) -> bool:
        """Whether the run is complete after this row."""
        enough = getattr(self.settings, "stop_accuracy", np.inf)
        return row[self.command.unit] >= self.total or row["test_accuracy"] >= enough


def _train(command: TrainingCommand, options: argparse.Namespace) -> int:
    given = {k: v for k, v in vars(options).items() if k not in ("command", "handler")}
    if "resume" in given:
        _require_changeable(command, given)
        folder, checkpoint = RunFolder.reopen(given.pop("resume"))
        with folder:
            _require_same_command(command, folder)
            plan = _plan(command, {**folder.config, **given})
            rows = [] if checkpoint is None else unpack_rows(checkpoint)
            _require_more_to_do(plan, folder, rows)
            with _postponed(command) as received:
                folder.begin(rows, **given)
                return _run(plan, folder, checkpoint, rows, received)
    output = given.pop("output", None)
    plan = _plan(command, given)
    config = {
        "command": command.name,
        **vars(plan.settings),
        "version": __version__,
        "train_pairs": len(plan.split.X_train),
        "test_pairs": len(plan.split.X_test),
        "build": build_info(),
    }
    with _postponed(command) as received:
        path = new_folder(_default_path(plan)) if output is None else output
        with RunFolder.create(path, config) as folder:
            return _run(plan, folder, None, [], received)


def _postponed(command: TrainingCommand) -> AbstractContextManager[list[int]]:
    return postponed(f"interrupted: ends after this {command.unit}; a second time, at once")


def _require_changeable(command: TrainingCommand, given: dict[str, Any]) -> None:
    """Raise ValueError for an option that --resume cannot take."""
    own = {*command.defaults, "stop_accuracy"}
    allowed = [name for name in CHANGEABLE if name in own]
    for name in given:
        if name not in ("resume", *allowed):
            listed = ", ".join("--" + each.replace("_", "-") for each in allowed)
            raise ValueError(
                f"--{name.replace('_', '-')}: not with --resume, a run keeps its settings; only "
                f"{listed} may change"
            )


def _require_same_command(command: TrainingCommand, folder: RunFolder) -> None:
    if (made_by := folder.config["command"]) != command.name:
        raise ValueError(f"resume: {folder.path} was made by 'grokrfm {made_by}', go on with that")
    if (version := folder.config["version"]) != __version__:
        warnings.warn(
            f"{folder.path} was made by grokrfm {version}, this is {__version__}: the rest of the "
            "history may differ by rounding",
            stacklevel=2,
        )


def _require_more_to_do(plan: _Plan, folder: RunFolder, rows: list[Row]) -> None:
    """Raise ValueError if a run that is complete would stay so, or its checkpoint is further on."""
    units = plan.command.unit + "s"
    if rows and rows[-1][plan.command.unit] > plan.total:
        raise ValueError(
            f"{units}: expected at least the {len(rows) - 1} that are done, got {plan.total}"
        )
    if folder.config["status"] != COMPLETE:
        return
    if not rows:
        raise ValueError(f"{folder.path}: the run is complete and has no checkpoint to go on from")
    if plan.ends_with(rows[-1]):
        raise ValueError(
            f"{folder.path}: the run is complete, nothing to resume; more --{units} than "
            f"{len(rows) - 1} extend it, and a --stop-accuracy above what it reached, if it has one"
        )


def _plan(command: TrainingCommand, given: dict[str, Any]) -> _Plan:
    """Check all settings; build the task once it is known that the run fits into memory."""
    settings = argparse.Namespace(**{**command.defaults, **given})
    settings.operation = check_operation(settings.operation)
    check_integer("checkpoint_every", settings.checkpoint_every, minimum=0)
    if "stop_accuracy" in settings and check_real("stop_accuracy", settings.stop_accuracy) > 1:
        raise ValueError(
            f"stop_accuracy: expected a number in [0, 1], got {settings.stop_accuracy}"
        )
    parameters = {
        name: value
        for name, value in vars(settings).items()
        if name in command.estimator.parameter_names()
    }
    model: Any = command.estimator(**parameters)
    model.check_parameters()
    pairs = settings.modulus**2
    count = getattr(settings, "train_count", None)
    if count is None:
        count = int(check_fraction("train_fraction", settings.train_fraction) * pairs)
    count = min(check_integer("train_count", count), pairs)
    need = model.require_memory(count, pairs - count)
    task = ModularTask(settings.operation, settings.modulus)
    split = task.split(
        settings.train_fraction,
        settings.seed,
        label_noise=settings.label_noise,
        train_count=getattr(settings, "train_count", None),
    )
    model.set_params(n_classes=task.n_classes)
    return _Plan(command, settings, task, split, model, command.callbacks(settings), need)


def _run(
    plan: _Plan,
    folder: RunFolder,
    checkpoint: Checkpoint | None,
    rows: list[Row],
    received: list[int],
) -> int:
    """Train, and write to the folder whatever comes of it; return the exit status."""
    command, settings, split = plan.command, plan.settings, plan.split
    complete = bool(rows) and plan.ends_with(rows[-1])
    if complete:  # but for its outputs: it was killed at its end
        plan.model.set_params(**{command.unit + "s": len(rows) - 1})

    def keep(current: Recorded) -> bool:
        nonlocal complete
        complete, interrupted = plan.ends_with(current.record), bool(received)
        every, done = settings.checkpoint_every, int(current.record[command.unit]) + 1
        if interrupted or (every and (complete or done % every == 0)):
            folder.store_checkpoint(current)
        return complete or interrupted

    progress = Progress(command.unit, plan.total, command.columns)
    print(f"grokrfm {__version__}: {plan.title}; up to {plan.memory / 1e6:.0f} MB of memory")
    began = time.perf_counter()
    try:
        plan.model.fit(
            split.X_train,
            split.y_train,
            (split.X_test, split.y_test),
            # The recorders first: what is written is complete.
            [*plan.recorders, folder.append, progress, keep],
            checkpoint=checkpoint,
        )
    except BaseException:
        if progress.rounds or rows:
            folder.set_status(INTERRUPTED)
        else:
            folder.discard()
        raise
    finally:
        progress.end()
    seconds = time.perf_counter() - began
    if not complete:
        print(f"interrupted; completed {command.unit}s are kept")
    missing = folder.finish(
        COMPLETE if complete else INTERRUPTED,
        _arrays(plan),
        partial(_draw, plan.model, plan.task.operation, plan.title),
    )
    print(_summary(plan, seconds))
    if missing:
        print(missing)
    if not complete:
        print(f"go on with: grokrfm {command.name} --resume {shlex.quote(str(folder.path))}")
    print(f"run folder: {folder.path}")
    return exit_status(received[0]) if received else 0


def _arrays(plan: _Plan) -> dict[str, NDArray[Any]]:
    """Content of features.npz: what the command adds, and the history."""
    history = {f"history/{key}": values for key, values in plan.model.history_.items()}
    return {**plan.command.arrays(plan.model), **history}


def _draw(model: Any, operation: str, title: str) -> Any:
    with off_screen():
        return plot_run(model.history_, model.feature_matrix_, operation, title)


def _default_path(plan: _Plan) -> Path:
    """A folder under runs/ whose name has every setting that is not the default."""
    command, settings = plan.command, plan.settings
    operation = settings.operation.replace("/", "div").replace(" ", "_").replace("*", "times")
    name = f"{operation}_p{settings.modulus}_{command.folder(settings)}_seed{settings.seed}"
    said = ("operation", "modulus", "kernel", "activation", "seed", *CHANGEABLE)
    for key, value in vars(settings).items():
        if key not in said and value != command.defaults.get(key):
            name += f"_{key.replace('_', '-')}-{value}"
    return Path("runs") / name[:200]


def _summary(plan: _Plan, seconds: float) -> str:
    history, unit = plan.model.history_, plan.command.unit
    accuracy = history["test_accuracy"]
    reached = np.flatnonzero(accuracy >= GROKKED)
    grokked = (
        f"reached {100 * GROKKED:g} % at {unit} {int(history[unit][reached[0]])}"
        if reached.size
        else f"{100 * GROKKED:g} % was not reached"
    )
    return (
        f"test accuracy {100 * accuracy[-1]:.2f} % after {len(accuracy) - 1} {unit}s, "
        f"{grokked}; {seconds:.2f} s, {plan.command.summary(plan.model)}"
    )
