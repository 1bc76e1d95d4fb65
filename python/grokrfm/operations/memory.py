"""How much memory a run may take."""

from __future__ import annotations

import os
from pathlib import Path


def available_bytes() -> int | None:
    """Memory that can be taken without swapping, in bytes; None where the system does not tell.

    The smaller of the machine's available memory and what is left in the control group.
    """
    figures = [figure for figure in (_machine(), _control_group()) if figure is not None]
    return min(figures, default=None)


def require(need: int, available: int | None, purpose: str, advice: str) -> None:
    """Raise MemoryError, naming both, if `need` bytes are more than are available."""
    if available is not None and need > available:
        raise MemoryError(
            f"{purpose} needs {need / 1e9:.2f} GB, {available / 1e9:.2f} GB are available; {advice}"
        )


def _machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _control_group() -> int | None:
    root = Path("/sys/fs/cgroup")
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
        return None if limit == "max" else int(limit) - used
    except (OSError, ValueError):
        return None
