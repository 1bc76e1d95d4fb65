"""Fixtures of the tests of sweeps."""

import pytest
from grokrfm import sweep
from sweeping import OVER, RUN
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="module")
def one_thread():
    """Rows are compared to the last bit, which takes the same number of threads everywhere."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def plain(one_thread, tmp_path_factory):
    """The table of an undisturbed sweep."""
    return sweep(RUN, OVER, folder=tmp_path_factory.mktemp("plain"), progress=False)
