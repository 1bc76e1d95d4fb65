"""Training from the command line: options, run folder, progress, checkpoints, summary.

One life cycle for every estimator; what a command adds to it stands in `run` and `train_net`.
"""

from __future__ import annotations

import argparse
import inspect
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..checks import check_integer
from ..experiments import RunFolder, unused_path
from ..figures import plot_run
from ..operations import BACKENDS, build_info
from ..tasks import OPERATIONS, ModularTask
from ..training import DTYPES, Estimator, Recorded, Row
from .progress import Progress

GROKKED = 0.99  # test accuracy that counts as generalising
INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it

Option = tuple[type, Sequence[str] | None, str]  # type, names to choose from, help
COMMON_OPTIONS: dict[str, Option] = {
    "backend": (str, BACKENDS, "where the operations run"),
    "dtype": (str, DTYPES, "precision of the run"),
}


@dataclass(frozen=True)
class TrainingCommand:
    """A command that trains one estimator on one task.

    Attributes
    ----------
    name, help, description, epilog : str
        For the parser.
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
    more_options : callable
        Adds options of the run that are not the estimator's.
    """

    name: str
    help: str
    description: str
    epilog: str
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
    more_options: Callable[[argparse._ArgumentGroup], object] = lambda group: None

    def add_to(self, commands: argparse._SubParsersAction[Any]) -> None:
        """Add the parser of this command."""
        parser = commands.add_parser(
            self.name,
            help=self.help,
            description=self.description,
            epilog=self.epilog,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        parser.set_defaults(handler=partial(_train, self))
        _add_task_options(parser.add_argument_group("task"), self.seeds)
        group = parser.add_argument_group("estimator")
        defaults = {"modulus": 61, **_defaults(self.estimator)}
        for name, (kind, choices, text) in self.options.items():
            group.add_argument(
                "--" + name.replace("_", "-"),
                type=kind,
                help=text if choices is None else f"{text}: {', '.join(choices)}",
                default=defaults[name],
                metavar=None if choices is None else "NAME",
            )
        group = parser.add_argument_group("run")
        _add_run_options(group, self)
        self.more_options(group)


def _defaults(estimator: type[Estimator]) -> dict[str, Any]:
    parameters = inspect.signature(estimator).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _add_task_options(task: argparse._ArgumentGroup, seeds: str) -> None:
    task.add_argument(
        "--operation", default="x+y", metavar="OPERATION", help="one of: " + "; ".join(OPERATIONS)
    )
    task.add_argument(
        "--train-fraction",
        type=float,
        default=0.5,
        metavar="R",
        help="share of all pairs that is trained on",
    )
    task.add_argument(
        "--train-count",
        type=int,
        default=argparse.SUPPRESS,
        metavar="N",
        help="number of training pairs, instead of a fraction",
    )
    task.add_argument("--seed", type=int, default=0, metavar="N", help=f"seed of {seeds}")
    task.add_argument(
        "--label-noise",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the training labels replaced by wrong ones",
    )


def _add_run_options(group: argparse._ArgumentGroup, command: TrainingCommand) -> None:
    group.add_argument(
        "--stop-accuracy",
        type=float,
        default=argparse.SUPPRESS,
        metavar="SHARE",
        help=f"end after the first {command.unit} with at least this test accuracy",
    )
    group.add_argument(
        "--checkpoint-every",
        type=int,
        default=command.checkpoint_every,
        metavar="N",
        help=f"store the state of the run after so many {command.unit}s; 0 for never",
    )
    group.add_argument(
        "--resume",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="go on with a broken run; all other settings come from the folder",
    )
    group.add_argument(
        "--output",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FOLDER",
        help="run folder to make (default: a new one under runs/)",
    )


def _train(command: TrainingCommand, options: argparse.Namespace) -> int:
    checkpoint = None
    if options.resume is not None:
        folder, config, checkpoint = RunFolder.reopen(options.resume)
        if (made_by := config.get("command", "run")) != command.name:
            raise ValueError(
                f"resume: {options.resume} was made by 'grokrfm {made_by}', go on with that"
            )
        options = argparse.Namespace(**{**vars(options), **config})
    task = ModularTask(options.operation, options.modulus)
    split = task.split(
        options.train_fraction,
        options.seed,
        label_noise=options.label_noise,
        train_count=getattr(options, "train_count", None),
    )
    check_integer("checkpoint_every", options.checkpoint_every, minimum=0)
    given = {k: v for k, v in vars(options).items() if k in command.estimator.parameter_names()}
    model: Any = command.estimator(**{**given, "n_classes": task.n_classes})
    model.check_parameters()
    recorders = command.callbacks(options)
    title = (
        f"{options.operation} mod {options.modulus}, {len(split.X_train)} of "
        f"{len(task.pairs)} pairs, {command.label(options)}"
    )
    if options.resume is None:
        unsaved = ("handler", "output", "resume")
        config = {key: value for key, value in vars(options).items() if key not in unsaved}
        config |= {
            "version": __version__,
            "train_pairs": len(split.X_train),
            "test_pairs": len(split.X_test),
            "build": build_info(),
        }
        folder = RunFolder.create(_output_path(command, options), config)
    total = getattr(model, command.unit + "s")

    def store_checkpoint(current: Recorded) -> None:
        every, number = options.checkpoint_every, int(current.record[command.unit])
        if every and (number + 1) % every == 0 and number < total:
            folder.store_checkpoint(current)

    progress = Progress(command.unit, total, command.columns)
    # The recorders first: what is written is complete.
    callbacks = [*recorders, folder.append, store_checkpoint, progress]
    if hasattr(options, "stop_accuracy"):
        callbacks.append(lambda current: current.record["test_accuracy"] >= options.stop_accuracy)
    print(f"grokrfm {__version__}: {title}")
    began = time.perf_counter()
    interrupted = False
    try:
        model.fit(
            split.X_train,
            split.y_train,
            (split.X_test, split.y_test),
            callbacks,
            checkpoint=checkpoint,
        )
    except KeyboardInterrupt:
        interrupted = True
    finally:
        progress.end()
        nothing = progress.rounds == 0 and checkpoint is None
        if nothing and options.resume is None:
            folder.discard()
    seconds = time.perf_counter() - began
    if nothing:
        print(f"interrupted before the first {command.unit} was complete")
        return INTERRUPTED
    if interrupted:
        print(f"interrupted; completed {command.unit}s are kept")
    missing = folder.finish(
        command.arrays(model),
        partial(plot_run, model.history_, model.feature_matrix_, task.operation, title),
    )
    print(_summary(command, model, seconds))
    if missing:
        print(missing)
    if interrupted and (folder.path / "checkpoint.npz").exists():
        print(f"go on with: grokrfm {command.name} --resume {shlex.quote(str(folder.path))}")
    elif not interrupted:
        folder.drop_checkpoint()
    print(f"run folder: {folder.path}")
    return INTERRUPTED if interrupted else 0


def _output_path(command: TrainingCommand, options: argparse.Namespace) -> Path:
    if hasattr(options, "output"):
        return Path(options.output)
    operation = options.operation.replace("/", "div").replace(" ", "_").replace("*", "times")
    name = f"{operation}_p{options.modulus}_{command.folder(options)}_seed{options.seed}"
    return unused_path(Path("runs") / name)


def _summary(command: TrainingCommand, model: Any, seconds: float) -> str:
    history, unit = model.history_, command.unit
    accuracy = history["test_accuracy"]
    reached = np.flatnonzero(accuracy >= GROKKED)
    grokked = (
        f"reached {100 * GROKKED:g} % at {unit} {int(history[unit][reached[0]])}"
        if reached.size
        else f"{100 * GROKKED:g} % was not reached"
    )
    return (
        f"test accuracy {100 * accuracy[-1]:.2f} % after {len(accuracy) - 1} {unit}s, "
        f"{grokked}; {seconds:.2f} s, {command.summary(model)}"
    )
