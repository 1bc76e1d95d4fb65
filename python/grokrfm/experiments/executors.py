"""Runs on executors: a window in flight, results stay with the worker, only rows come back."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ..checks import check_integer
from ..executors import as_executor, is_dask_client, worker_count
from ..signals import not_for_children
from .descriptions import RFMRun, goes_together
from .store import ResultStore
from .table import FAILED, MISSING, TableRow, row_of
from .task_runs import Experiment

_TOGETHER = 32  # runs of a batch: the backend takes of them what fills its memory
_LOOK_AGAIN = 5.0  # seconds after which workers are counted again: a cluster may still be growing


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its row, or why there is none."""

    row: TableRow | None = None
    error: str = ""
    status: str = FAILED


Report = Callable[[Experiment, Outcome], None]


def run_and_store(experiment: Experiment, folder: Path) -> Outcome:
    """Do a run, unless its file is there by now, and return its row; exceptions become text."""
    try:
        return Outcome(row_of(experiment, *ResultStore(folder).completed(experiment)))
    except Exception as error:
        return Outcome(error=_text(error))


def run_here(runs: Iterable[Experiment], folder: Path, report: Report, record: bool) -> None:
    """One run after the other; on a batched backend those of `RFMClassifier` together."""
    together: list[RFMRun] = []
    others: list[Experiment] = []
    for run in runs:
        if isinstance(run, RFMRun) and goes_together(run):
            together.append(run)
        else:
            others.append(run)
    store = ResultStore(folder)
    for first in range(0, len(together), _TOGETHER):
        batch = together[first : first + _TOGETHER]
        try:
            completed = store.completed_together(batch)
        except Exception:
            others = [*batch, *others]  # one by one, to find out whose it is
            continue
        for run, done in zip(batch, completed, strict=True):
            report(run, Outcome(row_of(run, *done)))
    for run in others:
        if record:
            report(run, run_and_store(run, folder))
        else:
            report(run, Outcome(row_of(run, *store.completed(run))))


def run_on(
    executor: Executor,
    workers: Callable[[], int],
    runs: Iterable[Experiment],
    folder: Path,
    report: Report,
) -> list[Experiment]:
    """Do runs on an executor, about two a worker in flight, those that cost most first.

    Returns
    -------
    list of Experiment
        If it broke, the runs without an outcome: first those that were in flight.
    """
    waiting = deque(sorted(runs, key=lambda run: run.cost, reverse=True))
    running: dict[Future[Outcome], Experiment] = {}
    try:
        while waiting or running:
            window = 2 * workers()
            while waiting and len(running) < window:
                try:
                    future = executor.submit(run_and_store, waiting[0], folder)
                except BrokenExecutor:
                    break
                running[future] = waiting.popleft()
            if not running:
                break
            broken = False
            for future in wait(running, _LOOK_AGAIN, return_when=FIRST_COMPLETED).done:
                # Dask cancels what is in flight when it loses its scheduler.
                error = BrokenExecutor() if future.cancelled() else future.exception()
                if isinstance(error, BrokenExecutor):
                    broken = True
                    continue
                outcome = future.result() if error is None else Outcome(error=_text(error))
                report(running.pop(future), outcome)
            if broken:
                break
    except BaseException:
        for future in running:
            future.cancel()
        raise
    return [*running.values(), *waiting]


def run_in_processes(
    workers: int, runs: Sequence[Experiment], folder: Path, report: Report
) -> None:
    """Do runs in worker processes of our own, which share out the cores.

    When a worker dies, the pool is made anew. What was in flight goes on one at a time, so that a
    run that kills its worker is known, and no other is taken for it.
    """
    left, in_flight = list(runs), 2 * workers
    while left:
        left = _in_pool(workers, left, folder, report)
        suspects, left = left[:in_flight], left[in_flight:]
        for run in suspects:
            if _in_pool(1, [run], folder, report, threads=_threads(workers)):
                report(run, Outcome(error="worker died: killed, or out of memory"))


def _in_pool(
    workers: int,
    runs: Sequence[Experiment],
    folder: Path,
    report: Report,
    threads: int | None = None,
) -> list[Experiment]:
    """Do runs in a pool; return those lost when it broke."""
    pool = _started(min(workers, len(runs)), _threads(workers) if threads is None else threads)
    try:
        lost = run_on(pool, lambda: workers, runs, folder, report)
    except BaseException:
        _stop(pool)
        raise
    pool.shutdown()
    return lost


def _started(workers: int, threads: int) -> ProcessPoolExecutor:
    """Return a pool whose workers start; tried twice, as one may be killed while it does."""
    for last in (False, True):
        pool = ProcessPoolExecutor(
            workers,
            multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(threads,),
        )
        try:
            with not_for_children():
                started = pool.submit(os.getpid)
            started.result()
            break
        except BrokenExecutor as error:
            if last:
                raise RuntimeError(
                    "executor: worker processes do not start; a script has to guard its main part "
                    "with if __name__ == '__main__'"
                ) from error
        except BaseException:
            _stop(pool)
            raise
    return pool


def _stop(pool: ProcessPoolExecutor) -> None:
    """End a pool and its processes at once: no file of theirs is there in part."""
    processes = list((pool._processes or {}).values())
    for process in processes:
        process.terminate()
    pool.shutdown(cancel_futures=True)


def _threads(workers: int) -> int:
    """Threads of each worker."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, cores // workers)


def _start_worker(threads: int) -> None:
    """Set the threads of a worker process; it ends with its parent, and leaves Ctrl-C to it."""
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["GROKRFM_NUM_THREADS"] = str(threads)
    threadpool_limits(threads)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def run_all(
    executor: Any, runs: Sequence[Experiment], folder: Path, report: Report, record: bool
) -> None:
    """Do runs on whatever `sweep` takes as an executor, checked before."""
    if executor is None:
        run_here(runs, folder, report, record)
    elif isinstance(executor, int):
        run_in_processes(executor, runs, folder, report)
    else:
        pool = as_executor(executor)
        for run in run_on(pool, lambda: _workers(executor), runs, folder, report):
            report(run, Outcome(error="the executor broke; call again", status=MISSING))


def check_executor(executor: Any) -> Any:
    """Return None, a number of workers, an executor, or a Dask client; else TypeError."""
    if executor is None or isinstance(executor, Executor) or is_dask_client(executor):
        return executor
    if isinstance(executor, bool) or not hasattr(executor, "__index__"):
        raise TypeError(
            "executor: expected None, a number of worker processes, a concurrent.futures.Executor "
            f"or a Dask Client, got {type(executor).__name__}"
        )
    return check_integer("executor", executor, minimum=1)


def _workers(executor: Any) -> int:
    """How many runs an executor does at a time, as far as it tells."""
    return worker_count(executor) or os.cpu_count() or 1


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
