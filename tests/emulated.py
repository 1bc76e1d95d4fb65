"""The CUDA operations compiled for the host: all but the device layer is tested without a GPU.

The sources of csrc/cuda are compiled as they are, with device_host.cpp in the place of
device_cuda.cu: SciPy's BLAS, NumPy arrays. Loops are plain ones, or else those of a GPU on the
lanes of lanes/cuda_runtime.h. Built once for each state of the sources and flags.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pybind11
import pytest
from grokrfm.files import locked
from grokrfm.operations.cuda import CudaOperations

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "csrc"
# Of a sanitizer, say; what is loaded before Python for it is not meant for the compiler.
FLAGS = os.environ.get("CXXFLAGS", "").split()
LANES = ROOT / "tests" / "lanes"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def _build(lanes):
    """Compile the extension unless these sources are compiled already; return its path."""
    name = os.environ.get("CXX", "c++")
    compiler = shutil.which(name)
    if compiler is None:
        pytest.skip(f"the CUDA operations compiled for the host need a C++ compiler, {name}")
    files = sorted(path for path in SOURCES.rglob("*") if path.suffix in (".h", ".cpp", ".cu"))
    flags = [*FLAGS, *(("-D__CUDACC__", f"-I{LANES}", "-includecuda_runtime.h") if lanes else ())]
    read = [*files, *(LANES.iterdir() if lanes else ())]
    parts = [*(path.read_bytes() for path in read), *map(str.encode, flags)]
    state = hashlib.sha256(b"".join(parts)).hexdigest()[:16]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    folder = ROOT / "build" / "emulated" / state
    module = folder / f"_cuda_emulated{suffix}"
    if module.exists():
        return module
    folder.mkdir(parents=True, exist_ok=True)
    while True:  # one process builds, others wait for it
        try:
            with locked(folder):
                return module if module.exists() else _compile(compiler, flags, files, module)
        except BlockingIOError:
            time.sleep(0.1)


def _compile(compiler, given, files, module):
    folder = module.parent
    flags = [
        "-std=c++17",
        "-O1",
        "-fPIC",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
        "-Wconversion",
    ]
    flags += ["-DGROKRFM_EMULATED", "-DGROKRFM_MODULE=_cuda_emulated"]
    flags += ['-DGROKRFM_CUDA_COMPILER="none"', '-DGROKRFM_CUDA_ARCHITECTURES="host"']
    flags += [f"-isystem{path}" for path in (sysconfig.get_path("include"), pybind11.get_include())]
    # The one that takes longest first.
    sources = [SOURCES / "cuda" / name for name in ("module.cpp", "device_host.cpp")]
    sources += [path for path in files if path.suffix == ".cu" and path.stem != "device_cuda"]
    sources.append(SOURCES / "cpu" / "blas.cpp")

    def compile_one(source):
        target = folder / f"{source.parent.name}-{source.stem}.o"
        command = [compiler, *flags, *given, "-x", "c++", "-c", str(source), "-o", str(target)]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, f"{source.name}:\n{done.stderr}"
        return str(target)

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, sources))
    part = module.with_suffix(".part")
    link = [compiler, "-shared", *FLAGS, *objects, "-o", str(part)]
    subprocess.run(link, env=ENVIRONMENT, check=True)
    return part.replace(module)


@cache
def library(lanes=False):
    """The extension."""
    spec = importlib.util.spec_from_file_location("_cuda_emulated", _build(lanes))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def emulated_operations(tf32=False, lanes=False):
    """CudaOperations on NumPy arrays."""
    module = library(lanes)
    return CudaOperations(module, module.Device({}, tf32), np)
