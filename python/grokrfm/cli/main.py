"""Command line: `grokrfm run`, `train-net`, `sweep`, `figures` and `info`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from .._version import __version__
from ..rfm import SolverWarning
from . import figures, info, sweep, training
from .run import RUN
from .train_net import TRAIN_NET


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grokrfm", description="Recursive Feature Machines on modular arithmetic."
    )
    parser.add_argument("--version", action="version", version=f"grokrfm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    # A command adds its parser, whose default `handler` takes the options.
    for command in (RUN, TRAIN_NET):
        training.add_to(commands, command)
    for module in (sweep, figures, info):
        module.add_to(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        Exit status: 2 for bad input and errors, 130 after Ctrl-C, 143 after SIGTERM.
    """
    options = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.simplefilter("once", SolverWarning)
        try:
            return int(options.handler(options))
        except MemoryError as error:
            reason = str(error) or "not enough memory"
        except (TypeError, ValueError, RuntimeError, ArithmeticError, OSError) as error:
            reason = str(error) or type(error).__name__
        print(f"grokrfm: error: {reason}", file=sys.stderr)
        return 2


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"\nwarning: {message}", file=sys.stderr)
