"""Command line: `grokrfm run`, `train-net`, `figures` and `info`."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence

from . import __version__, figures_command
from .commands import RUN, TRAIN_NET
from .info import build_info
from .machines import SolverWarning


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grokrfm", description="Recursive Feature Machines on modular arithmetic."
    )
    parser.add_argument("--version", action="version", version=f"grokrfm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    # A command adds its parser, whose default `handler` takes the options.
    RUN.add_to(commands)
    TRAIN_NET.add_to(commands)
    figures_command.add_to(commands)
    info = commands.add_parser("info", help="print what was built and what it runs on, as JSON")
    info.set_defaults(handler=_info)
    return parser


def _info(options: argparse.Namespace) -> int:
    print(json.dumps(build_info(), indent=2))
    return 0


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
