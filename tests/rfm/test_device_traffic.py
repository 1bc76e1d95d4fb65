"""What goes from a device to the host, counted on arrays that cannot go there unseen."""

import numpy as np
import pytest
from cases import make_data, metric
from device_arrays import DeviceArray, DeviceModule, xp
from emulated import library
from grokrfm.operations.conjugate_gradients import BATCHED_ROWS, coarse_inverse
from grokrfm.operations.cuda import CudaOperations
from grokrfm.operations.reference import ArrayOperations
from grokrfm.rfm import grid as grids
from grokrfm.rfm.columns import sums_by_label
from grokrfm.rfm.conjugate_gradients import ConjugateGradientMachine
from grokrfm.rfm.grid import GridEvaluator, row_major_order
from grokrfm.rfm.solvers import pairs_obstacle

QUADRATIC = (3.0, 0.0, 0.0)


@pytest.fixture
def copies(monkeypatch):
    """Shapes of the arrays that have come to the host, in a list that grows."""
    shapes, get = [], DeviceArray.get

    def counted(array):
        shapes.append(array.shape)
        return get(array)

    monkeypatch.setattr(DeviceArray, "get", counted)
    return shapes


@pytest.mark.parametrize("fraction", [0.04, 0.5, 1])
def test_order_on_the_grid(fraction):
    data = make_data(9, fraction=fraction)
    expected = np.argsort(data.train @ [9, 1])
    np.testing.assert_array_equal(row_major_order(data.train, 9), expected)


def test_a_pair_twice_is_counted():
    data = make_data(5)
    assert pairs_obstacle(data) is None
    data.train[3] = data.test[2]
    assert "more than once" in pairs_obstacle(data)


@pytest.mark.parametrize("block_bytes", [1, 300, 1 << 20])
def test_dual_coefficients_come_in_blocks(block_bytes, copies, monkeypatch):
    monkeypatch.setattr(grids, "_COPIED_BYTES", block_bytes)
    data = make_data(7)
    n = len(data.train)
    grid = GridEvaluator(ArrayOperations(xp), QUADRATIC, [data], "float32", 0.0, True)
    dual = np.random.default_rng(0).normal(size=(n, 7)).astype("float32")
    on_grid = grid.to_grid_order(xp.asarray(dual))
    actual = grid.to_data_order(on_grid)
    np.testing.assert_array_equal(actual, dual)
    np.testing.assert_array_equal(on_grid.get(), dual[np.argsort(data.train @ [7, 1])].T)
    pairs = max(1, block_bytes // (7 * 4))
    assert copies[:-1] == [(min(pairs, n - first), 7) for first in range(0, n, pairs)]
    assert actual.flags.c_contiguous


@pytest.mark.parametrize("runs", [1, 3])
def test_a_round_is_read_at_once(runs, copies):
    """However many runs go together; feature matrices are the loop's."""
    operations = CudaOperations(library(), library().Device({}, False), xp)
    data = [make_data(5, seed) for seed in range(runs)]
    grid = GridEvaluator(operations, QUADRATIC, data, "float64", 0.0, True)
    machine = ConjugateGradientMachine(operations, grid, "float64", 1e-9)
    M = xp.asarray(np.broadcast_to(np.eye(10), (*grid.leading, 10, 10)).copy())
    for depth in range(2):
        evaluations = machine.fit(M)
        assert copies == [(*grid.leading, 10 + machine.depth)] * (depth + 1)
        assert [evaluation.complaint for evaluation in evaluations] == [""] * runs
        assert all(evaluation.cg_iterations > 0 for evaluation in evaluations) or depth > 0


def test_outputs_of_pairs_are_summed_on_the_device(copies):
    device = ArrayOperations(xp).device
    rng = np.random.default_rng(0)
    solutions, labels = rng.normal(size=(3, 40)).astype("float32"), rng.integers(0, 5, 40)
    actual = sums_by_label(device, xp.asarray(solutions), xp.asarray(labels), 6)
    expected = [[row[labels == label].sum() for label in range(6)] for row in solutions]
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert copies == [(3, 6)] and actual.dtype == np.float32
    assert sums_by_label(device, xp.asarray(solutions[:0]), xp.asarray(labels), 6).shape == (0, 6)


def test_coarse_matrices_of_several_runs_are_inverted_at_once(monkeypatch):
    """Where CuPy would solve for one after the other."""

    class Linalg(DeviceModule):
        def solve(self, A, B):
            assert A.shape[-1] <= BATCHED_ROWS or A.ndim == 2
            return xp.asarray(np.linalg.solve(A.get(), B.get()))

    monkeypatch.setattr(DeviceModule, "linalg", Linalg(np.linalg))
    rng = np.random.default_rng(0)
    for d in (6, BATCHED_ROWS + 2):
        C, G = (np.stack([metric(rng, d, "definite") for _ in range(2)]) for _ in range(2))
        actual = coarse_inverse(xp, xp.asarray(C), xp.asarray(G)).get()
        for each, c, g in zip(actual, C, G, strict=True):
            np.testing.assert_allclose(each, np.linalg.inv(np.linalg.inv(c) + g), atol=1e-8)
