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
from itertools import pairwise
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_KEPT = "grokrfm: interrupted; what was finished is kept"


def exit_status(number: int) -> int:
    """Exit status after a signal, as shells have it."""
    return 128 + number


def _leave(number: int, frame: Any) -> None:
    """End the process at once: every file is there whole or not at all."""
    with suppress(Exception):
        sys.stdout.flush()
    with suppress(OSError):
        os.write(2, f"\n{_KEPT}\n".encode())
    os._exit(exit_status(number))


def _is_command() -> bool:
    """Whether this process is `grokrfm` or `python -m grokrfm`."""
    if sys.argv[:1] == ["-m"]:  # while the package is imported
        return ("-m", "grokrfm") in pairwise(sys.orig_argv)
    return Path(sys.argv[0] if sys.argv else "").stem == "grokrfm"


_COMMAND = _is_command()


def _handlers() -> dict[signal.Signals, Any]:
    """Handlers of the signals, but of those that are ignored, as under nohup, or not Python's."""
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    return {number: old for number, old in handlers.items() if old not in (signal.SIG_IGN, None)}


@contextmanager
def postponed(message: str) -> Iterator[list[int]]:
    """Only note the first signal, in the list returned, and say so; the second ends the command.

    The system then ends it: Python would learn of the signal only between two of its own steps.
    """
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)
        for each, old in before.items():
            signal.signal(each, signal.SIG_DFL if _COMMAND else old)
        with suppress(OSError):
            os.write(2, f"\n{message}\n".encode())

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = _handlers() if in_main_thread else {}
    for number in before:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def cleaned_up() -> Iterator[None]:
    """A signal raises first, so that worker processes are ended; then it ends the command.

    A second one ends it at once.
    """
    received: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        received.append(number)
        for each, old in before.items():
            signal.signal(each, old)
        raise KeyboardInterrupt

    before = _handlers() if _COMMAND else {}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        if not received:
            raise
        print(f"\n{_KEPT}", file=sys.stderr, flush=True)
        sys.exit(exit_status(received[0]))
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def not_for_children() -> Iterator[None]:
    """Processes started here never get SIGINT; this one gets it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it would unblock the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


if _COMMAND:
    for _number in _handlers():
        signal.signal(_number, _leave)
