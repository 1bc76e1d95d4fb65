"""Command line: `grokrfm run`, `train-net`, `figures` and `info`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from .._version import __version__
from ..rfm import SolverWarning
from . import figures, info
from .run import RUN
from .train_net import TRAIN_NET


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grokrfm", description="Recursive Feature Machines on modular arithmetic."
    )
    parser.add_argument("--version", action="version", version=f"grokrfm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    # A command adds its parser, whose default `handler` takes the options.
    for command in (RUN, TRAIN_NET, figures, info):
        command.add_to(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status (2 for bad input, 130 after Ctrl-C)."""
    options = _parser().parse_args(arguments)
    warnings.showwarning = lambda message, *_, **__: print(f"\nwarning: {message}", file=sys.stderr)
    warnings.simplefilter("once", SolverWarning)
    try:
        return int(options.handler(options))
    except (TypeError, ValueError, RuntimeError, ArithmeticError, MemoryError, OSError) as error:
        print(f"grokrfm: error: {error}", file=sys.stderr)
        return 2
