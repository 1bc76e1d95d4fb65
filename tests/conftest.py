"""Settings and fixtures of all tests."""

import os
import signal
import sys
import warnings
from types import SimpleNamespace

if "PYTEST_XDIST_WORKER" in os.environ:  # before NumPy is there: a worker has one processor
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from grokrfm.cli import main
from grokrfm.operations import backends
from hypothesis import settings

# The same examples every time, and no limit of time for one on a busy machine.
settings.register_profile("grokrfm", deadline=None, derandomize=True)
settings.load_profile("grokrfm")


@pytest.fixture
def interruptible():
    """Ctrl-C reaches this process and its children even if the tests run in the background, where
    it is ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def emulated_backend(monkeypatch):
    """backend="cuda" runs the host build."""
    from emulated import emulated_operations

    monkeypatch.setattr(backends, "_cuda_operations", emulated_operations)
    monkeypatch.setattr(backends, "_made", {})
    monkeypatch.setattr(backends, "obstacle", lambda backend: None)


# Those that can be had, and "cuda" on the host build.
BACKENDS = ["numpy", "cpp", "emulated"]
BACKENDS += [name for name in ("cuda", "cupy") if backends.obstacle(name) is None]


@pytest.fixture(params=BACKENDS)
def backend(request):
    """What an estimator is given as its backend, one after the other."""
    if request.param != "emulated":
        return request.param
    request.getfixturevalue("emulated_backend")
    return "cuda"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The command line within this process, in a folder of its own: no start of an interpreter."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        with warnings.catch_warnings():  # the command sets them for its process
            try:
                returncode = main(arguments)
            except SystemExit as ended:  # by argparse
                returncode = ended.code
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=returncode, stdout=out, stderr=err)

    yield call
    if plots := sys.modules.get("matplotlib.pyplot"):
        plots.close("all")
