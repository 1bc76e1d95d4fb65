"""What can be seen of an NVIDIA GPU without CUDA: enough to say what is missing, no more."""

from __future__ import annotations

import ctypes
from pathlib import Path
from shutil import which

_UNSEEN = "no NVIDIA GPU is to be seen here (no libcuda, nvidia-smi or /dev/nvidia0)"
_BUILD = "pip install --force-reinstall --no-deps --config-settings=cmake.define.GROKRFM_CUDA=ON ."


def gpu_traces() -> list[str]:
    """Return what of "libcuda", "nvidia-smi" and "/dev/nvidia0" is here."""
    found = {
        "libcuda": _has_driver_library(),
        "nvidia-smi": which("nvidia-smi") is not None,
        "/dev/nvidia0": Path("/dev/nvidia0").exists(),
    }
    return [name for name, there in found.items() if there]


def _has_driver_library() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def no_extension() -> str:
    """Why there may be no CUDA extension, and what to do."""
    traces, compiler = gpu_traces(), which("nvcc")
    if not traces:
        return (
            f"this build has no CUDA extension, and {_UNSEEN}; on a machine with one, install with "
            f"nvcc (CUDA 12.6.2 or later) on the PATH: {_BUILD}"
        )
    there = f"this build has no CUDA extension, though there is a GPU ({', '.join(traces)})"
    if compiler is None:
        return (
            f"{there}: nvcc is not on the PATH. Install the CUDA toolkit, 12.6.2 or later, put its "
            f"bin on the PATH and build again, {_BUILD}; backend='cupy' needs no compiler"
        )
    return f"{there} and {compiler}: build again, {_BUILD}"


def no_cupy() -> str:
    """What to do where CuPy is missing."""
    advice = "CuPy is missing, pip install 'grokrfm[cuda12]' or 'grokrfm[cuda13]'"
    return advice if gpu_traces() else f"{advice}; and {_UNSEEN}"


def no_device(reason: str) -> str:
    """What to do where CuPy finds no GPU, with CUDA's reason."""
    traces = gpu_traces()
    if not traces:
        return f"it needs a GPU, and {_UNSEEN}: {reason}"
    return (
        f"CUDA finds no GPU that it can use: {reason}. Of one there is {', '.join(traces)}: see "
        "whether nvidia-smi lists it, CUDA_VISIBLE_DEVICES hides it or the driver is too old"
    )
