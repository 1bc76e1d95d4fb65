"""Ctrl-C and SIGTERM on the command line: one line, and 128 + the signal as exit status.

Importing this module installs the handlers if the process is the `grokrfm` command, so the package
imports it first.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def exit_status(number: int) -> int:
    """Exit status after a signal, as shells have it."""
    return 128 + number


def _leave(number: int, frame: Any) -> None:
    """End the process at once: every file is there whole or not at all."""
    with suppress(Exception):
        sys.stdout.flush()
    with suppress(OSError):
        os.write(2, b"\ngrokrfm: interrupted; what was finished is kept\n")
    os._exit(exit_status(number))


def _is_command() -> bool:
    """Whether this process is `grokrfm` or `python -m grokrfm`."""
    if sys.argv[:1] == ["-m"]:  # while the package is imported
        return sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] == ["grokrfm"]
    return Path(sys.argv[0] if sys.argv else "").stem == "grokrfm"


def _handle(handler: Any) -> dict[signal.Signals, Any]:
    """Install a handler where signals are not ignored (nohup); return the earlier ones."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    return before


@contextmanager
def postponed(message: str) -> Iterator[list[int]]:
    """Only note the first signal, in the list returned, and say so; the second one kills.

    Of a second one Python learns only between two of its own steps, the system at once.
    """
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        with suppress(OSError):
            os.write(2, f"\n{message}\n".encode())

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = _handle(note)
    try:
        yield received
    finally:
        for number, old in before.items():
            signal.signal(number, old)


if _is_command():
    _handle(_leave)
