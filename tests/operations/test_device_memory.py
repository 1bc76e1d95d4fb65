"""What the CUDA operations take of the device: what they ask for, and what is announced of it."""

import tracemalloc
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from cases import make_data
from emulated import emulated_operations, library
from grokrfm import ModularTask, RFMClassifier
from grokrfm.operations import memory
from grokrfm.operations.cuda import CudaOperations
from grokrfm.operations.grid import GridProblem
from grokrfm.operations.kernels import make_kernel
from grokrfm.rfm.grid import GridEvaluator
from grokrfm.rfm.requirements import require_memory
from grokrfm.rfm.sampled import SampledMachine


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


def test_dual_coefficients_need_room_on_the_host(monkeypatch):
    p = 1999
    settings, data = run_of(p, solver="cg")
    operations = emulated_operations()
    operations.device = SimpleNamespace(xp=None, available_bytes=lambda: 80e9)
    need = p * (p * p // 2) * 4 + 2 * settings.matrices_held * (2 * p) ** 2 * 4
    for available in (need, need - 1):
        monkeypatch.setattr(memory, "available_bytes", lambda available=available: available)
        if available == need:
            require_memory(settings, "cg", [data], operations)
        else:
            with pytest.raises(MemoryError, match=r"a run with solver 'cg'"):
                require_memory(settings, "cg", [data], operations)


def sampled_run(p, classes, pairs):
    return run_of(p, agop_classes=classes, eval_pairs=pairs)


def run_of(p, **options):
    """Settings and data of a run in float32, by their sizes alone."""
    model = RFMClassifier(p, keep_features="last", **options)
    n = p * p // 2
    sizes = {"train": range(n), "test": range(p * p - n), "modulus": p, "dimension": 2 * p}
    return model.check_parameters(), SimpleNamespace(**sizes, n_classes=p)


@pytest.mark.parametrize("p, most", [(4999, 20e9), (9973, 65e9)])
def test_a_dozen_classes_and_16_pairs_fit_into_80_gb(p, most, monkeypatch):
    settings, data = sampled_run(p, 12, 16)
    operations = emulated_operations()
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * 8 * (2 * p) ** 2 * 4)  # the host's

    def need(available):
        operations.device = SimpleNamespace(xp=None, available_bytes=lambda: available)
        return require_memory(settings, "cg", [data], operations)

    on_device = need(80e9) - 2 * settings.matrices_held * (2 * p) ** 2 * 4
    assert 36 * p * p * 4 < on_device < most
    need(on_device)
    with pytest.raises(MemoryError, match=r"a run with solver 'cg'"):
        need(on_device - 1)


@pytest.mark.parametrize("classes, pairs", [(12, 16), (20, 27)])
def test_a_round_asks_for_what_is_announced_of_it(classes, pairs, asking, monkeypatch):
    """Blocks of 25 columns at most: the 27 pairs take two of 13 and 14, the classes one."""
    p = 997
    monkeypatch.setattr(asking, "block_bytes", library().grid_round_bytes(p, 25, 0, 4, 1 << 40))
    square, labels = np.zeros((2 * p, 2 * p), "float32"), np.full((p, p), -1, np.int32)
    labels[0, 0] = 0
    problem = GridProblem(square, (3.0, 0, 0), 0.0, labels, labels, square, square, 1e-3, 9, [])
    solutions, targets = (np.zeros((k, 1, 1), "float32") for k in (classes + pairs, pairs))
    with pytest.raises(Asked) as caught:
        asking.grid_round(problem, solutions, np.zeros((p, p), "float32"), targets=targets[:, 0])
    shared = 80 * p * p * 4
    assert caught.value.args[0] == asking.column_bytes(p, classes, pairs, 4) - shared


def test_columns_in_flight_take_the_budget_if_they_fit():
    p, budget = 997, CudaOperations.block_bytes
    assert library().grid_round_bytes(p, 500, 0, 4, budget) < budget
    assert library().grid_round_bytes(p, 1, 0, 8, 0) > 2 * p * p * 8


@pytest.mark.parametrize("operation, kernel", [("x+y", "quadratic"), ("x*y", "general_quadratic")])
@pytest.mark.parametrize("large_rows", [0, 4000])
def test_the_estimate_holds_and_is_near_the_peak(
    emulated_backend, operation, kernel, large_rows, monkeypatch
):
    """Of a sampled run; 16 MB of the estimate are for all that is small."""
    p = 151
    monkeypatch.setattr(CudaOperations, "large_rows", large_rows)
    split = ModularTask(operation, p).split(0.5, 0)
    model = RFMClassifier(
        p, kernel, agop_classes=6, eval_pairs=3, backend="cuda", iterations=2, tol=0.1
    )
    need = SampledMachine.required_bytes(
        sampled_run(p, 6, 3)[1], 4, emulated_operations(), 6, 3, on_the_grid=True
    ) - (16 << 20)
    tracemalloc.start()
    model.fit(split)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert need / 2 < peak < need


def test_places_beyond_32_bits():
    """The last column begins at 2³¹; memory that is not written to takes none."""
    p, n, classes = 5, 2**27, 15
    data, operations = make_data(p), emulated_operations()
    grid = GridEvaluator(operations, (3.0, 0.0, 0.0), [data], "float32", 0.1, True)
    problem = grid.problem(np.eye(2 * p, dtype="float32"), 1e-5, 50, [1.0])
    rng, known = np.random.default_rng(0), len(data.train)
    found = []
    for length in (known, n):
        try:
            solutions = np.zeros((classes + 2, 1, length), "float32")
            targets = np.zeros((2, length), "float32")
        except MemoryError:
            pytest.skip("the system does not lend memory that it does not have")
        targets[:, :known] = rng.normal(size=known)
        own = np.zeros((p, p), "float32")
        operations.grid_round(problem, solutions, own, targets=targets, target_tolerance=1e-5)
        found.append(solutions[..., :known])
        rng = np.random.default_rng(0)
    np.testing.assert_array_equal(*found)
    assert np.abs(found[0][-1]).min() > 0
