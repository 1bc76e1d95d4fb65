"""`grokrfm info`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..operations import build_info, missing_backends


def add_to(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser of this command."""
    info = commands.add_parser("info", help="print what was built and what it runs on, as JSON")
    info.set_defaults(handler=_info)


def _info(options: argparse.Namespace) -> int:
    print(json.dumps(build_info() | {"missing_backends": missing_backends()}, indent=2))
    return 0
