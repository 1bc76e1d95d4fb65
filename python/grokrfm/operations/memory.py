"""How much memory a run may take."""

from __future__ import annotations

import os
from pathlib import Path


def available_bytes() -> int | None:
    """Memory that can be taken without swapping, in bytes; None where the system does not tell.

    The smaller of the machine's available memory and what is left in the control groups.
    """
    figures = [figure for figure in (_machine(), _control_group()) if figure is not None]
    return min(figures, default=None)


def require(need: int, available: int | None, purpose: str, advice: str) -> int:
    """Return `need`; raise MemoryError, naming both, if so many bytes are not available."""
    if available is not None and need > available:
        raise MemoryError(
            f"{purpose} needs {need / 1e9:.2f} GB, {available / 1e9:.2f} GB are available; {advice}"
        )
    return need


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


# Files of a control group in either version: limit, use, and in memory.stat the pages of files that
# the kernel can drop at once, which count as used.
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def _control_group() -> int | None:
    """The least that the control groups of this process leave, its own and those around it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = ["0::/"]
    figures: list[int] = []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers == "":
            mounts, files = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], _VERSION_2
        elif "memory" in controllers.split(","):
            mounts, files = ["/sys/fs/cgroup/memory"], _VERSION_1
        else:
            continue
        # A container may see the host's path below a mount that is its own group: try them all.
        parts = [part for part in path.split("/") if part]
        names = ["/".join([mount, *parts[:n]]) for mount in mounts for n in range(len(parts) + 1)]
        left = [_left_in(Path(name), *files) for name in names]
        figures += [figure for figure in left if figure is not None]
    return min(figures, default=None)


def _left_in(group: Path, limit: str, usage: str, droppable: str) -> int | None:
    try:
        most = int((group / limit).read_text())  # "max" where there is no limit
        used = int((group / usage).read_text())
    except (OSError, ValueError):
        return None
    try:
        fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used -= int(fields[droppable])
    except (OSError, ValueError, KeyError):
        pass
    return max(most - used, 0)
