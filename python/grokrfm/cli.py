"""Command line: `grokrfm run`, `grokrfm figures` and `grokrfm info`."""

from __future__ import annotations

import argparse
import inspect
import json
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from .backends import BACKENDS
from .checks import check_integer
from .figures import FIGURES, Settings, choose_figures, make_figures
from .history import Callback, Round
from .info import build_info
from .kernels import KERNELS
from .machines import SolverWarning
from .measures import FeatureMeasures
from .rfm import CENTERINGS, DTYPES, RFMClassifier
from .runs import RunFolder, unused_path
from .solvers import SOLVERS
from .tasks import OPERATIONS, ModularTask

GROKKED = 0.99  # test accuracy that counts as generalising
INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it

# parameter of RFMClassifier -> (type, choices, help); n_classes and n_tasks follow from the task
_ESTIMATOR_OPTIONS: dict[str, tuple[type, Sequence[str] | None, str]] = {
    "modulus": (int, None, "p, the number of residues"),
    "kernel": (str, tuple(KERNELS), "kernel function"),
    "iterations": (int, None, "updates of the feature matrix"),
    "bandwidth": (float, None, "L of the Gaussian and Laplace kernels"),
    "ridge": (float, None, "added to the diagonal of the kernel matrix; 0 interpolates"),
    "agop_power": (float, None, "exponent on the average gradient outer product"),
    "centering": (str, CENTERINGS, "gradients less their mean per class, or as they are"),
    "backend": (str, BACKENDS, "where the operations run"),
    "solver": (str, SOLVERS, "linear solver"),
    "dtype": (str, DTYPES, "precision of the run"),
    "tol": (float, None, "relative residual at which conjugate gradients stop"),
    "depth": (int, None, "hidden layers of the ntk kernel"),
}
_CLI_DEFAULTS = {"modulus": 61}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grokrfm", description="Recursive Feature Machines on modular arithmetic."
    )
    parser.add_argument("--version", action="version", version=f"grokrfm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    run = commands.add_parser(
        "run",
        help="train one RFM and write a run folder",
        description="Train one Recursive Feature Machine. Without options: x+y mod 61 from half of "
        "all pairs, quadratic kernel, 30 iterations. Writes a folder with config.json, "
        "metrics.jsonl (one line a round), features.npz (every feature matrix) and "
        "run.png. Ctrl-C ends the run and keeps what was computed.",
        epilog="examples:  grokrfm run --operation 'x*y' --train-fraction 0.4    "
        "grokrfm run --kernel gaussian --dtype float64 --stop-accuracy 0.999",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    task = run.add_argument_group("task")
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
    task.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the split")
    task.add_argument(
        "--label-noise",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the training labels replaced by wrong ones",
    )
    estimator = run.add_argument_group("machine")
    signature = inspect.signature(RFMClassifier).parameters
    for name, (kind, choices, text) in _ESTIMATOR_OPTIONS.items():
        estimator.add_argument(
            "--" + name.replace("_", "-"),
            type=kind,
            help=text,
            default=_CLI_DEFAULTS.get(name, signature[name].default),
            metavar=None if choices is None else "NAME",
        )
        if choices is not None:
            estimator._group_actions[-1].help = f"{text}: {', '.join(choices)}"
    output = run.add_argument_group("run")
    output.add_argument(
        "--stop-accuracy",
        type=float,
        default=argparse.SUPPRESS,
        metavar="SHARE",
        help="end after the first round with at least this test accuracy",
    )
    output.add_argument(
        "--checkpoint-every",
        type=int,
        default=5,
        metavar="ROUNDS",
        help="store the state of the run after so many rounds; 0 for never",
    )
    output.add_argument(
        "--resume",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="go on with a broken run; all other settings come from the folder",
    )
    output.add_argument(
        "--output",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FOLDER",
        help="run folder to make (default: a new one under runs/)",
    )
    _add_figures_command(commands)
    commands.add_parser("info", help="print what was built and what it runs on, as JSON")
    return parser


def _add_figures_command(commands: Any) -> None:
    figures = commands.add_parser(
        "figures",
        help="make the paper's figures, and our own",
        description="Make the figures: PNG, the plotted numbers (.npz), and figures.json with\n"
        "settings and times. Runs are kept in the folder's runs/ and used again.",
        epilog="figures:\n"
        + "\n".join(f"  {figure.name:12s} {figure.title}" for figure in FIGURES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    figures.add_argument(
        "--only", nargs="+", metavar="NAME", help="names of figures (default: all)"
    )
    figures.add_argument(
        "--quick", action="store_true", help="fewer points and one seed: a minute or two"
    )
    figures.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="runs with seeds 0 to N-1; bands show their range (default: 3, or 1 with --quick)",
    )
    figures.add_argument(
        "--output", type=Path, default=Path("figures"), metavar="FOLDER", help="default: figures/"
    )


def _figures(options: argparse.Namespace) -> int:
    quick = options.quick
    n_seeds = (1 if quick else 3) if options.seeds is None else options.seeds
    settings = Settings(quick, check_integer("seeds", n_seeds, minimum=1))
    seconds = make_figures(options.output, options.only, settings)
    count = len(choose_figures(options.only))
    print(f"{count} figure{'s' if count > 1 else ''} in {_duration(seconds)}: {options.output}")
    return 0


class _Progress:
    """One line a round: in place on a terminal, below each other otherwise."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._seconds: list[float] = []

    def __call__(self, current: Round) -> None:
        record = current.record
        self._seconds.append(record["seconds"])
        recent = self._seconds[-3:]  # rounds grow longer as the features form
        left = (current.iterations - current.iteration) * sum(recent) / len(recent)
        line = (
            f"iteration {current.iteration:3d}/{current.iterations}"
            f"  train {100 * record['train_accuracy']:6.2f} %"
            f"  test {100 * record['test_accuracy']:6.2f} %"
            f"  deviation {record['circulant_deviation']:.3f}"
            f"  residual {record['residual']:.0e}"
            f"  {record['seconds']:.2f} s"
            f"  {_duration(left)} left"
        )
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write("\r\x1b[K" + line[:width])
        else:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def end(self) -> None:
        if self._live:
            sys.stdout.write("\n")


def _run(options: argparse.Namespace) -> int:
    checkpoint = None
    if options.resume is not None:
        folder, config, checkpoint = RunFolder.reopen(options.resume)
        options = argparse.Namespace(**{**vars(options), **config})
    task = ModularTask(options.operation, options.modulus)
    split = task.split(
        options.train_fraction,
        options.seed,
        label_noise=options.label_noise,
        train_count=getattr(options, "train_count", None),
    )
    check_integer("checkpoint_every", options.checkpoint_every, minimum=0)
    parameters = {name: getattr(options, name) for name in _ESTIMATOR_OPTIONS}
    model = RFMClassifier(**parameters, n_classes=task.n_classes)
    model.check_parameters()
    title = (
        f"{options.operation} mod {options.modulus}, {len(split.X_train)} of "
        f"{len(task.pairs)} pairs, {options.kernel} kernel"
    )
    if options.resume is None:
        config = {
            key: value
            for key, value in vars(options).items()
            if key not in ("command", "output", "resume")
        }
        config |= {
            "version": __version__,
            "train_pairs": len(split.X_train),
            "test_pairs": len(split.X_test),
            "build": build_info(),
        }
        folder = RunFolder.create(_output_path(options), config)

    def store_checkpoint(current: Round) -> None:
        every = options.checkpoint_every
        if every and (current.iteration + 1) % every == 0 and current.iteration < model.iterations:
            folder.store_checkpoint(current)

    progress = _Progress()
    callbacks: list[Callback] = [
        FeatureMeasures(task.operation),
        folder.append,
        store_checkpoint,
        progress,
    ]
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
        if not hasattr(model, "history_") and options.resume is None:
            folder.discard()
    seconds = time.perf_counter() - began
    if not hasattr(model, "history_"):
        print("interrupted before the first round was complete")
        return INTERRUPTED
    if interrupted:
        print("interrupted; completed rounds are kept")
    missing = folder.finish(model, task.operation, title)
    print(_summary(model, seconds))
    if missing:
        print(missing)
    if interrupted and (folder.path / "checkpoint.npz").exists():
        print(f"go on with: grokrfm run --resume {shlex.quote(str(folder.path))}")
    elif not interrupted:
        folder.drop_checkpoint()
    print(f"run folder: {folder.path}")
    return INTERRUPTED if interrupted else 0


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 100 else f"{minutes // 60}:{minutes % 60:02d} h"


def _output_path(options: argparse.Namespace) -> Path:
    if hasattr(options, "output"):
        return Path(options.output)
    operation = options.operation.replace("/", "div").replace(" ", "_").replace("*", "times")
    name = f"{operation}_p{options.modulus}_{options.kernel}_seed{options.seed}"
    return unused_path(Path("runs") / name)


def _summary(model: RFMClassifier, seconds: float) -> str:
    history = model.history_
    accuracy = history["test_accuracy"]
    reached = np.flatnonzero(accuracy >= GROKKED)
    grokked = (
        f"reached {100 * GROKKED:g} % at iteration {int(history['iteration'][reached[0]])}"
        if reached.size
        else f"{100 * GROKKED:g} % was not reached"
    )
    return (
        f"test accuracy {100 * accuracy[-1]:.2f} % after {len(accuracy) - 1} iterations, "
        f"{grokked}; {seconds:.2f} s, solver {model.solver_}, largest relative residual "
        f"{history['residual'].max():.1e}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status (2 for bad input, 130 after Ctrl-C)."""
    options = _parser().parse_args(arguments)
    warnings.showwarning = lambda message, *_, **__: print(f"\nwarning: {message}", file=sys.stderr)
    warnings.simplefilter("once", SolverWarning)
    try:
        if options.command == "info":
            print(json.dumps(build_info(), indent=2))
            return 0
        return _figures(options) if options.command == "figures" else _run(options)
    except (TypeError, ValueError, RuntimeError, MemoryError, OSError) as error:
        print(f"grokrfm: error: {error}", file=sys.stderr)
        return 2
