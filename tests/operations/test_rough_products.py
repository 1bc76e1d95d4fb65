"""Loose solves of p > 128 in float32: products to about 16 bits where the processor has tiles."""

import numpy as np
import pytest
from cases import FAMILY, make_data, metric
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.info import build_info
from grokrfm.operations.kernels import quadratic_form
from grokrfm.rfm.grid import GridEvaluator
from grokrfm.tasks import pair_indices
from threadpoolctl import threadpool_limits

LOOSE = 1e-3  # the least tolerance with rough products
HAS_TILES = build_info()["instruction_set_in_use"] == "amx-bf16"


class Round:
    """Some classes and pairs of a run with half of all pairs."""

    def __init__(self, p, case, dtype="float32", classes=(4, 0, 3), pairs=2):
        operations, data = CppOperations(), make_data(p)
        rng, kernel = np.random.default_rng(p), case.kernel(2 * p)
        self.M = metric(rng, 2 * p, "definite").astype(dtype)
        self.grid = GridEvaluator(operations, quadratic_form(kernel), [data], dtype, 0.0, True)
        train = data.train[np.argsort(data.train @ [p, 1])]
        inputs = [pair_indices(part, p).astype(np.int32) for part in (data.test[:pairs], train)]
        self.targets = operations.kernel_matrix(kernel, self.M, *inputs) if pairs else None
        self.start = 0.01 * rng.normal(size=(len(classes) + pairs, 1, len(train))).astype(dtype)
        self.classes = np.array(classes)
        self.own = np.zeros((p, p), dtype)
        self.operations = operations

    def solve(self, tolerance, steps, start=None):
        """Solutions and sums."""
        problem = self.grid.problem(self.M, tolerance, steps, [1.0])
        problem = self.grid.of_classes(problem, self.classes)
        solutions = (self.start if start is None else start).copy()
        sums = self.operations.grid_round(
            problem, solutions, self.own, targets=self.targets, target_tolerance=tolerance
        )
        return solutions, sums


@pytest.mark.parametrize(
    "p, case, threads, columns",
    [
        (127, FAMILY[0], 2, {}),
        (131, FAMILY[1], 2, {}),  # blocks of several columns
        (199, FAMILY[0], 2, {}),
        (257, FAMILY[0], 1, {}),
        (269, FAMILY[1], 2, {}),
        (521, FAMILY[0], 2, {}),
        (503, FAMILY[0], 3, {"classes": (7,), "pairs": 0}),  # threads share the products
    ],
    ids=str,
)
def test_rough_products_are_close_and_asked_for(p, case, threads, columns):
    """Two steps and the sums of the AGOP, at a tolerance on either side."""
    given = Round(p, case, **columns)
    with threadpool_limits(threads):
        (rough, rough_sums), (exact, sums) = (
            given.solve(tolerance, steps=2) for tolerance in (LOOSE, 0.99 * LOOSE)
        )
    assert (rough != exact).any() == (HAS_TILES and p > 128)
    assert np.abs(rough - exact).max() <= 1e-4 * np.abs(exact).max()
    for name, bound in {"zqz": 1e-4, "best": 1e-4, "tz": 5e-3}.items():  # t sums what cancels
        ours, theirs = (np.asarray(getattr(of, name)) for of in (rough_sums, sums))
        assert np.abs(ours - theirs).max() <= bound * np.abs(theirs).max(), name


@pytest.mark.parametrize("p, case", [(131, FAMILY[1]), (257, FAMILY[0]), (269, FAMILY[1])], ids=str)
def test_the_residual_that_was_asked_for(p, case):
    """Computed from the solutions by exact products, of classes and of pairs."""
    given = Round(p, case)
    solutions, claimed = given.solve(LOOSE, steps=300)
    _, checked = given.solve(LOOSE, steps=0, start=solutions)
    assert np.max(claimed.residuals) <= LOOSE
    np.testing.assert_allclose(checked.residuals, claimed.residuals, rtol=0, atol=0.05 * LOOSE)


def test_double_precision_has_no_rough_products():
    given = Round(257, FAMILY[0], "float64")
    (one, _), (other, _) = (given.solve(tol, steps=2) for tol in (LOOSE, 0.99 * LOOSE))
    np.testing.assert_array_equal(one, other)


def test_an_evaluation_of_given_coefficients_has_none():
    """Those of Cholesky, say, which nobody asked to be loose."""
    given = Round(257, FAMILY[0], classes=range(257), pairs=0)
    evaluated = given.grid(given.M, given.grid.to_data_order(given.start[:, 0])).agop()
    exact, rough = (
        given.grid.round(given.M, given.start, tolerance, 0, [])[0][0].agop()
        for tolerance in (0.99 * LOOSE, LOOSE)
    )
    np.testing.assert_array_equal(evaluated, exact)
    assert (rough != exact).any() == HAS_TILES
