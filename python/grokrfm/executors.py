"""What takes work for other processes: executors, and Dask clients without importing Dask."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any


def is_dask_client(executor: Any) -> bool:
    """Whether it is a client of dask.distributed, which need not be there."""
    return callable(getattr(executor, "get_executor", None))


def as_executor(executor: Any) -> Executor:
    """Return the executor itself, or that of a Dask client.

    There equal tasks are not one task to be done once: it may be one that was lost.
    """
    pool: Executor = executor.get_executor(pure=False) if is_dask_client(executor) else executor
    return pool


def worker_count(executor: Any) -> int | None:
    """How many tasks it works on at a time, at present; None if it does not tell."""
    if is_dask_client(executor):
        threads: dict[str, int] = executor.nthreads()
        return max(1, sum(threads.values()))
    for name in ("_max_workers", "num_workers"):  # of the standard library and loky; of mpi4py
        workers = getattr(executor, name, None)
        if isinstance(workers, int) and workers > 0:
            return workers
    return None
