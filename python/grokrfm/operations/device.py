"""Where arrays live: their module, their memory, the threads that work on them."""

from __future__ import annotations

import os
import sys
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


class ThreadedHost(Device):
    """Host memory, and threads of our own over single-threaded BLAS.

    The number of threads is GROKRFM_NUM_THREADS from the environment or else that of the BLAS:
    OPENBLAS_NUM_THREADS or `threadpoolctl.threadpool_limits` govern both.
    """

    def __init__(self) -> None:
        super().__init__(np)
        self._blas = ThreadpoolController().select(user_api="blas")
        self._held = 0  # threads of the region in progress, if any

    @property
    def threads(self) -> int:
        """Threads in use: as set, else the BLAS's, else (a BLAS not seen) one a processor."""
        wanted = os.environ.get("GROKRFM_NUM_THREADS")
        if wanted is not None:
            if not wanted.strip().isdecimal() or int(wanted) < 1:
                raise ValueError(
                    f"GROKRFM_NUM_THREADS: expected a positive integer, got {wanted!r}"
                )
            return int(wanted)
        if pools := self._blas.lib_controllers:
            return int(max(pool.num_threads for pool in pools))
        if sys.platform == "linux":
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    @contextmanager
    def own_threads(self) -> Iterator[int]:
        """Yield the number of threads, with BLAS kept to one: each of ours calls it.

        Around a whole run too, and then once: BLAS workers go on spinning after a threaded call and
        would slow down the parallel regions that follow.
        """
        if self._held:
            yield self._held
            return
        self._held = self.threads
        try:
            with self._blas.limit(limits=1):
                yield self._held
        finally:
            self._held = 0
