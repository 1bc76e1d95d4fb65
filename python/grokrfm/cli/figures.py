"""`grokrfm figures`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..checks import check_integer
from ..figures import FIGURES, Settings, choose_figures, make_figures
from .progress import duration


def add_to(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser of this command."""
    figures = commands.add_parser(
        "figures",
        help="make the paper's figures, and our own",
        description="Make the figures: PNG, the plotted numbers (.npz), and figures.json with\n"
        "settings and times. Runs are kept in the folder's runs/ and used again: after\n"
        "Ctrl-C the same command goes on.",
        epilog="figures:\n"
        + "\n".join(f"  {figure.name:12s} {figure.title}" for figure in FIGURES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    figures.set_defaults(handler=_figures)
    figures.add_argument(
        "--only", nargs="+", metavar="NAME", help="names of figures (default: all)"
    )
    figures.add_argument(
        "--quick", action="store_true", help="fewer points and one seed: six minutes on two cores"
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
    n_seeds = options.seeds
    if n_seeds is None:
        n_seeds = 1 if options.quick else 3
    settings = Settings(options.quick, check_integer("seeds", n_seeds, minimum=1))
    seconds = make_figures(options.output, options.only, settings)
    count = len(choose_figures(options.only))
    print(f"{count} figure{'s' if count > 1 else ''} in {duration(seconds)}: {options.output}")
    return 0
