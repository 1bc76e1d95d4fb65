"""Settings and fixtures of all tests."""

import signal

import pytest
from hypothesis import settings

# The same examples every time, and no limit of time for one on a busy machine.
settings.register_profile("grokrfm", deadline=None, derandomize=True)
settings.load_profile("grokrfm")


@pytest.fixture
def interruptible():
    """Ctrl-C reaches child processes even if the tests run in the background, where it is ignored
    and children inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def emulated_backend(monkeypatch):
    """backend="cuda" runs the host build."""
    from emulated import emulated_operations
    from grokrfm.operations import backends

    monkeypatch.setattr(backends, "_cuda_operations", emulated_operations)
    monkeypatch.setattr(backends, "obstacle", lambda backend: None)
