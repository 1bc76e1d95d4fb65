"""Where arrays live: their module, their memory, the threads that work on them."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from .. import arrays
from . import memory


class Device:
    """The device of the arrays of the module `xp` (numpy or cupy)."""

    def __init__(self, xp: Any = np) -> None:
        self.xp = xp

    def asarray(self, array: Any, dtype: Any) -> Any:
        """Copy `array` to the device, C-contiguous, in that dtype."""
        return self.xp.array(array, dtype=dtype, order="C")

    def to_numpy(self, array: Any) -> NDArray[Any]:
        """Return the array in host memory."""
        return arrays.to_numpy(array)

    def available_bytes(self) -> int | None:
        """Memory that arrays can take; None where the system does not tell."""
        if self.xp is np:
            return memory.available_bytes()
        free, _ = self.xp.cuda.runtime.memGetInfo()
        return int(free) + int(self.xp.get_default_memory_pool().free_bytes())

    @contextmanager
    def own_threads(self) -> Iterator[int]:
        """Region in which the operations thread by themselves; nothing to do for arrays."""
        yield 1

    @contextmanager
    def users_threads(self) -> Iterator[None]:
        """Within `own_threads`, for callbacks: everything as its user left it."""
        yield


class ThreadedHost(Device):
    """Host memory, and threads of our own over single-threaded BLAS.

    The number of threads is GROKRFM_NUM_THREADS from the environment or else that of the BLAS:
    OPENBLAS_NUM_THREADS or `threadpoolctl.threadpool_limits` govern both.

    Runs in several Python threads go on side by side, each with all threads: results depend on
    their number, and so are those of the same runs one after the other. Single-threaded BLAS is a
    setting of the whole process. The first to enter the region makes it, and the last to leave
    brings back what the first found; in between, BLAS calls of other Python threads are
    single-threaded too.
    """

    def __init__(self) -> None:
        super().__init__(np)
        self._blas = ThreadpoolController().select(user_api="blas").lib_controllers
        self._lock = threading.Lock()  # of what follows
        self._inside = 0  # how many are in the region
        self._found: list[int] = []  # threads of each BLAS before the first of them
        self._threads = 1  # in the region
        if hasattr(os, "register_at_fork"):
            forked = weakref.WeakMethod(self._forked)
            os.register_at_fork(after_in_child=lambda: (method := forked()) and method())

    @property
    def threads(self) -> int:
        """Threads in use."""
        with self._lock:
            return self._threads if self._inside else self._wanted()

    def _wanted(self) -> int:
        """As set, else the BLAS's, else (a BLAS not seen) one a processor."""
        wanted = os.environ.get("GROKRFM_NUM_THREADS")
        if wanted is not None:
            if not wanted.strip().isdecimal() or int(wanted) < 1:
                raise ValueError(
                    f"GROKRFM_NUM_THREADS: expected a positive integer, got {wanted!r}"
                )
            return int(wanted)
        if self._blas:
            return int(max(pool.num_threads for pool in self._blas))
        if sys.platform == "linux":
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    @contextmanager
    def own_threads(self) -> Iterator[int]:
        """Yield the number of threads, with BLAS kept to one: each of ours calls it.

        Around a whole run too: BLAS workers go on spinning after a threaded call and would slow
        down the parallel regions that follow.
        """
        threads = self._enter()
        try:
            yield threads
        finally:
            self._leave()

    @contextmanager
    def users_threads(self) -> Iterator[None]:
        """Leave the region for a while: for callbacks BLAS is as its user left it.

        Unless another Python thread is in the region. Leaving and entering take microseconds; a
        callback with threaded BLAS calls slows the next round down: their workers spin on.
        """
        self._leave()
        try:
            yield
        finally:
            self._enter()

    def _enter(self) -> int:
        with self._lock:
            if self._inside == 0:
                self._threads = self._wanted()
                self._found = [pool.num_threads for pool in self._blas]
                self._set_blas([1] * len(self._blas))
            self._inside += 1
            return self._threads

    def _leave(self) -> None:
        with self._lock:
            if self._inside == 0:  # a fork since then
                return
            self._inside -= 1
            if self._inside == 0:
                self._set_blas(self._found)

    def _set_blas(self, threads: list[int]) -> None:
        for pool, number in zip(self._blas, threads, strict=True):
            # threadpoolctl 3.8 and later ignore all Python threads but the one in control, which is
            # whichever was first; here it is whoever has the lock, and afterwards nobody.
            give_up_control = getattr(pool, "clear_controlling_thread", lambda force: None)
            give_up_control(force=True)
            pool.set_num_threads(number)
            give_up_control(force=True)

    def _forked(self) -> None:
        """In a child process: whoever was in the region is there in the parent."""
        self._lock = threading.Lock()
        if self._inside:
            self._set_blas(self._found)
        self._inside = 0
