"""What is said where there is no GPU, no extension for one, or no CuPy."""

import json
import sys
from types import SimpleNamespace

import pytest
from grokrfm import ModularTask, RFMClassifier, build_info
from grokrfm.operations import backends, gpu, missing_backends

UNSEEN = "no NVIDIA GPU is to be seen here"


@pytest.fixture
def machine(monkeypatch):
    """A machine that has of a GPU, of programs, modules and CuPy what it is given."""

    def has(*traces, nvcc=False, extension=False, devices=None):
        programs = [*traces, "nvcc"] if nvcc else traces

        def load(name):
            if "libcuda" not in traces:
                raise OSError(name)

        for name, stand_in in (
            ("ctypes", SimpleNamespace(CDLL=load)),
            ("Path", lambda path: SimpleNamespace(exists=lambda: path in traces)),
            ("which", lambda name: f"/bin/{name}" if name in programs else None),
        ):
            monkeypatch.setattr(gpu, name, stand_in)
        monkeypatch.setattr(
            backends, "find_spec", lambda name: extension or name != "grokrfm._cuda" or None
        )
        cupy = None
        if devices is not None:
            runtime = SimpleNamespace(
                getDeviceCount=devices, getDevice=lambda: 0, CUDARuntimeError=RuntimeError
            )
            cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
        monkeypatch.setitem(sys.modules, "cupy", cupy)

    return has


def refusal(backend="cuda"):
    split = ModularTask("x+y", 5).split()
    with pytest.raises(RuntimeError, match=f"^backend: '{backend}' cannot be had: ") as raised:
        RFMClassifier(5, backend=backend).fit(split)
    return str(raised.value)


def test_a_build_without_the_extension_where_there_is_no_gpu(machine):
    machine()
    assert "no CUDA extension" in refusal() and UNSEEN in refusal()
    assert "nvcc (CUDA 12.6.2 or later) on the PATH: pip install" in refusal()
    assert gpu.gpu_traces() == []


@pytest.mark.parametrize("trace", ["libcuda", "nvidia-smi", "/dev/nvidia0"])
def test_an_install_without_nvcc_where_there_is_a_gpu(machine, trace):
    machine(trace)
    assert gpu.gpu_traces() == [trace]
    assert f"though there is a GPU ({trace}): nvcc is not on the PATH" in refusal()
    assert "GROKRFM_CUDA=ON" in refusal() and "backend='cupy' needs no compiler" in refusal()
    machine(trace, nvcc=True)
    assert "/bin/nvcc: build again, pip install" in refusal()
    assert UNSEEN not in refusal()


def test_a_build_with_the_extension_where_there_is_no_gpu(machine, monkeypatch):
    machine(extension=True)
    assert "CuPy is missing" in refusal() and UNSEEN in refusal()
    assert "CuPy is missing" in refusal("cupy")

    def no_device():
        raise RuntimeError("cudaErrorNoDevice")

    machine(extension=True, devices=no_device)
    assert UNSEEN in refusal() and "cudaErrorNoDevice" in refusal()
    machine("libcuda", "/dev/nvidia0", extension=True, devices=lambda: 0)
    assert "CUDA finds no GPU that it can use: it counts 0 devices" in refusal()
    assert "Of one there is libcuda, /dev/nvidia0" in refusal()
    machine("libcuda", extension=True, devices=lambda: 1)
    monkeypatch.setattr(backends, "_cuda_operations", lambda tf32: None)
    assert missing_backends() == {}


@pytest.mark.parametrize("error", [ImportError, RuntimeError])
def test_libraries_that_do_not_do_are_an_obstacle(machine, monkeypatch, error):
    def fails(tf32):
        raise error("no cusolverDnXsyevBatched")

    machine("libcuda", extension=True, devices=lambda: 1)
    monkeypatch.setattr(backends, "_cuda_operations", fails)
    assert refusal().endswith("cannot be had: no cusolverDnXsyevBatched")
    assert set(missing_backends()) == {"cuda"}


def test_info_says_the_same(machine, run):
    machine("libcuda")
    assert build_info()["gpu"] == ["libcuda"]
    told = json.loads(run("info").stdout)
    assert told["gpu"] == ["libcuda"]
    assert set(told["missing_backends"]) == {"cuda", "cupy"}
    assert "nvcc is not on the PATH" in told["missing_backends"]["cuda"]
