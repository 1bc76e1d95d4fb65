"""What the CUDA operations take of the device: what they ask for, and what is announced of it."""

from contextlib import nullcontext

import numpy as np
import pytest
from emulated import emulated_operations, library
from grokrfm.operations.kernels import make_kernel


class Asked(Exception):
    """Instead of so many bytes."""


@pytest.fixture
def asking(monkeypatch):
    """Operations whose calls stop where they ask for more than 32 MB, and name how much."""
    operations = emulated_operations()

    def allocate(size):
        if size > 32 << 20:
            raise Asked(size)
        return np.empty(size, np.uint8)

    place = library().Place(operations._handle, 0, allocate)
    monkeypatch.setattr(operations, "_place", lambda: nullcontext(place))
    return operations


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "ntk"])
def test_no_kernel_matrix_at_p_997(kernel, asking):
    """A product and an AGOP of 16 columns go block by block: K would take 1000 GB."""
    p, rng = 997, np.random.default_rng(0)
    n, kernel = p * p // 2, make_kernel(kernel, bandwidth=2.5, depth=1, dimension=2 * p)
    M = np.eye(2 * p, dtype="float32")
    places = np.sort(rng.permutation(p * p)[:n])
    inputs = np.stack([places // p, p + places % p], axis=1).astype(np.int32)
    vectors = np.zeros((n, 16), "float32")
    for call in (
        lambda: asking.kernel_product(kernel, M, inputs, vectors),
        lambda: asking.agop(kernel, M, inputs, vectors, True),
    ):
        with pytest.raises(Asked) as caught:
            call()
        assert caught.value.args[0] < 1e9
