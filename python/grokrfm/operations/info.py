"""What was built and what it runs on."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from threadpoolctl import threadpool_info

from .gpu import gpu_traces


def build_info() -> dict[str, Any]:
    """Return what was built and what it runs on.

    Returns
    -------
    dict
        compiled (whether the extension for the CPU is there), compiler, build_type,
        instruction_sets (of the leaf loops), instruction_set_in_use, hardware_threads, blas (list
        of the BLAS libraries loaded: library, version, architecture, threads), gpu (list of what
        can be seen of an NVIDIA GPU: libcuda, nvidia-smi, /dev/nvidia0), cuda (whether the CUDA
        extension was built) and, if it was, cuda_compiler, cuda_architectures and cuda_devices
        (number of GPUs, 0 without a driver).
    """
    compiled = find_spec("grokrfm._cpu") is not None
    info: dict[str, Any] = {"compiled": compiled}
    if compiled:
        from .. import _cpu

        info |= _cpu.build_info()
    info["blas"] = [
        {
            "library": pool["internal_api"],
            "version": pool.get("version"),
            "architecture": pool.get("architecture"),
            "threads": pool["num_threads"],
        }
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    info["gpu"] = gpu_traces()
    info["cuda"] = find_spec("grokrfm._cuda") is not None
    if info["cuda"]:
        from .. import _cuda

        info |= _cuda.build_info() | {"cuda_devices": _cuda.device_count()}
    return info
