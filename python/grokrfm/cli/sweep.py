"""`grokrfm sweep`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..experiments import ResultStore, RFMRun, SweepTable, critical_fraction, listed, sweep
from ..figures import off_screen, plot_critical_fraction, plot_phase_diagram
from ..signals import cleaned_up
from ..tasks import OPERATIONS
from .progress import duration
from .run import RUN

_TASK: dict[str, tuple[Callable[[str], object], str]] = {
    "operation": (str, "one of: " + "; ".join(OPERATIONS)),
    "train_fraction": (float, "share of all pairs that is trained on"),
    "train_count": (int, "number of training pairs, instead of a fraction"),
    "seed": (int, "seed of the split and of what is drawn"),
    "label_noise": (float, "share of the training labels replaced by wrong ones"),
    "stop_accuracy": (float, "end a run at this test accuracy"),
}
_TRIED = 1000.0  # seconds of a run, at the rate of the cheapest, up to which a dry run tries it


def add_to(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "sweep",
        help="run every combination of several settings, or bisect the training fraction",
        description="Run every combination of the values given. Options take several values, of\n"
        "numbers also ranges: integers a:b or a:b:step as Python's range, without b;\n"
        "others a:b:step with b. Every run has a file in the folder: after Ctrl-C the\n"
        "same command goes on, and one with more values does the new runs alone.\n"
        "Writes table.csv and, with matplotlib, sweep.png.",
        epilog="examples:\n"
        "  grokrfm sweep --modulus 31 41 61 --train-fraction .2:.6:.05 --seed 0:5 --workers 2\n"
        "  grokrfm sweep --critical --operation 'x+y' 'x*y' --modulus 31 41 61 --seed 0:2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=_sweep)
    options = {**_TASK, **{name: (kind, text) for name, (kind, _, text) in RUN.options.items()}}
    group = parser.add_argument_group("runs")
    for name, (kind, text) in options.items():
        group.add_argument(
            "--" + name.replace("_", "-"),
            type=_values(kind),
            nargs="+",
            help=text,
            metavar="VALUE",
            dest=f"over_{name}",
        )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="worker processes (default: none)")
    where.add_argument("--dask", metavar="ADDRESS", help="of a Dask scheduler, as tcp://host:8786")
    parser.add_argument(
        "--critical",
        action="store_true",
        help="bisect the training fraction at which half of the test pairs are right",
    )
    parser.add_argument(
        "--resolution", type=float, default=0.01, help="of --critical (default: 0.01)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say how many runs, how long, how much memory"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("sweep"), metavar="FOLDER", help="default: sweep/"
    )


def _values(kind: Callable[[str], object]) -> Callable[[str], list[object]]:
    """Return what turns text into the values that it stands for."""

    def values(text: str) -> list[object]:
        if kind not in (int, float) or ":" not in text:
            return [kind(text)]
        parts = text.split(":")
        if kind is int:
            return list(range(*(int(part) for part in parts)))
        first, last, step = (float(part) for part in parts)
        if step == 0:
            raise ValueError("a step of 0")
        count = int((last - first) / step + 1e-9) + 1
        return [round(first + i * step, 10) for i in range(count)]

    values.__name__ = "value or range"
    return values


def _sweep(options: argparse.Namespace) -> int:
    over: dict[str, Iterable[Any]] = {
        name.removeprefix("over_"): [value for values in given for value in values]
        for name, given in vars(options).items()
        if name.startswith("over_") and given is not None
    }
    folder = options.output.expanduser()
    if options.dry_run:
        return _dry_run(listed(RFMRun(), over), folder, options)
    with cleaned_up(), ExitStack() as stack:
        executor = options.workers
        if options.dask is not None:
            try:
                from distributed import Client
            except ImportError as error:
                raise RuntimeError(
                    "--dask: distributed is missing, pip install 'grokrfm[dask]'"
                ) from error
            executor = stack.enter_context(Client(options.dask))
        if options.critical:
            table = critical_fraction(
                RFMRun(), over, folder=folder, resolution=options.resolution, executor=executor
            )
        else:
            table = sweep(RFMRun(), over, folder=folder, executor=executor)
    table.to_csv(folder / "table.csv")
    _draw(table, folder / "sweep.png", options.critical)
    done = sum(row["status"] == "done" for row in table)
    print(f"{done} of {len(table)} {'searches' if options.critical else 'runs'} done: {folder}")
    for row in table:
        if row["status"] != "done":
            print(f"{row['status']}: {row['operation']} mod {row['modulus']}: {row['error']}")
    return 0 if done == len(table) else 1


def _draw(table: SweepTable, path: Path, critical: bool) -> None:
    """Draw what is done, if there is anything, and matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("no picture: matplotlib is missing (pip install 'grokrfm[plot]')")
        return
    if all(row["status"] != "done" for row in table):
        return
    with off_screen():
        if critical:
            ax = plot_critical_fraction(table)
        else:
            several = len(np.unique(table.column("modulus"))) > 1
            ax = plot_phase_diagram(table, y="modulus" if several else "operation")
        ax.figure.savefig(path, dpi=130)


def _dry_run(runs: list[Any], folder: Path, options: argparse.Namespace) -> int:
    """Say what the runs would take, by the first rounds of some of them."""
    if options.critical:
        steps = int(np.ceil(np.log2(0.9 / options.resolution)))
        print(f"{len(runs)} searches of {steps} runs each; of one run each:")
    there = ResultStore(folder).path if folder.is_dir() else None
    left = [run for run in runs if there is None or not there(run).exists()]
    if not left:
        print(f"all {len(runs)} runs are done: {folder}")
        return 0
    memory = max(run.memory for run in left) * (options.workers or 1)
    print(
        f"{len(runs)} runs, {len(runs) - len(left)} of them done; the others about "
        f"{duration(_seconds(left))} in this process; up to {memory / 1e6:.0f} MB"
    )
    return 0


def _seconds(runs: list[Any]) -> float:
    """About how long runs take one after the other.

    By a trial of the cheapest and one of the dearest that does not take long: small runs reach
    fewer operations a second. In between a power of the cost, beyond in proportion to it.
    """
    runs = sorted(runs, key=lambda run: run.cost)
    _trial(runs[0])  # the first meets cold caches
    known = {runs[0].cost: _trial(runs[0])}
    allowed = runs[0].cost * max(1.0, _TRIED / known[runs[0].cost])
    dearest = [run for run in runs if run.cost <= allowed][-1]
    known[dearest.cost] = _trial(dearest)
    costs, last = np.array([run.cost for run in runs]), max(known)
    within = np.exp(np.interp(np.log(costs), np.log(list(known)), np.log(list(known.values()))))
    return float(np.sum(within * np.maximum(1.0, costs / last)))


def _trial(run: Any) -> float:
    """Seconds that a run would take, by its first three rounds."""
    trial = replace(run, iterations=2, keep=(), stop_accuracy=None)
    began = time.perf_counter()
    trial.run()
    return float((time.perf_counter() - began) / trial.cost * run.cost)
