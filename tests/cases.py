"""The case table: one row a kernel, with the error bounds of its fast versions.

Reference, parity, gradient checks and benchmarks all run over these rows.
"""

from dataclasses import dataclass

import numpy as np
from grokrfm import ModularTask
from grokrfm.operations import ArrayOperations, Kernel, make_kernel, quadratic_form
from grokrfm.operations.reference import one_hot
from grokrfm.tasks import PairData


@dataclass(frozen=True)
class Case:
    """A kernel and the largest error, relative to the largest entry, allowed to fast versions."""

    name: str
    bandwidth: float = 2.5
    depth: int = 1
    float64: float = 1e-11
    float32: float = 1e-4

    def kernel(self, dimension: int) -> Kernel:
        return make_kernel(
            self.name, bandwidth=self.bandwidth, depth=self.depth, dimension=dimension
        )

    def bound(self, dtype: str) -> float:
        return getattr(self, dtype)

    def __str__(self) -> str:
        return f"{self.name}-{self.depth}" if self.name == "ntk" else self.name


CASES = (
    Case("quadratic"),
    Case("general_quadratic"),
    Case("gaussian"),
    Case("gaussian_paper"),
    Case("laplace", float32=1e-3),
    Case("quadratic_ntk"),
    # Slopes grow like 1/sine towards cosine 1, and the rounding error of the cosine with them.
    Case("ntk", depth=1, float64=1e-9, float32=5e-3),
    Case("ntk", depth=3, float64=1e-9, float32=5e-3),
)


DTYPES = ("float32", "float64")

# What can go wrong at the edges; each row is arguments of make_problem.
EDGES = {
    "ordinary": {},
    "one slot": {"slots": 1},
    "absent indices": {"slots": 3},
    "p = 2": {"p": 2, "n": 4},
    "one training point": {"n": 1, "m": 1},
    "one class": {"c": 1},
    "repeated points": {"p": 2, "n": 12},
    "singular M": {"kind": "singular"},
    "indefinite M": {"kind": "indefinite"},
    "several blocks": {"p": 7, "n": 301, "m": 203, "c": 13},
}

# The kernels with a form on the grid of pairs, what M to give them, and their error bounds there.
FAMILY = [case for case in CASES if quadratic_form(case.kernel(4)) is not None]
KINDS = ("definite", "singular", "indefinite")
BOUNDS = {"float64": 1e-11, "float32": 2e-4}

_REFERENCE = ArrayOperations()


@dataclass
class Problem:
    """Random inputs for one operation."""

    M: np.ndarray
    train: np.ndarray
    evaluation: np.ndarray
    dual_coefficients: np.ndarray


def metric(rng: np.random.Generator, d: int, kind: str) -> np.ndarray:
    """A symmetric (d, d) matrix: "definite", "singular" or "indefinite"."""
    rank = d if kind == "definite" else d // 2
    factor = rng.normal(size=(d, rank)) / np.sqrt(rank)
    signs = np.ones(rank)
    if kind == "indefinite":
        signs[::3] = -1
    M = (factor * signs) @ factor.T + (0.2 * np.eye(d) if kind != "singular" else 0)
    return (M + M.T) / 2


def make_problem(
    seed: int,
    dtype: str = "float64",
    *,
    p: int = 5,
    slots: int = 2,
    n: int = 17,
    m: int = 9,
    c: int = 4,
    kind: str = "definite",
) -> Problem:
    """Inputs with `slots` operands of p residues; with 3 slots the last is often absent."""
    rng = np.random.default_rng(seed)
    d = p * slots
    offsets = p * np.arange(slots)

    def inputs(count: int) -> np.ndarray:
        indices = rng.integers(0, p, size=(count, slots)) + offsets
        if slots == 3:
            indices[rng.random(count) < 0.4, 2] = -1
        return indices.astype(np.int32)

    return Problem(
        M=metric(rng, d, kind).astype(dtype),
        train=inputs(n),
        evaluation=inputs(m),
        dual_coefficients=rng.normal(size=(n, c)).astype(dtype),
    )


def assert_close(
    actual: np.ndarray, expected: np.ndarray, bound: float, scale: float | None = None
) -> None:
    """Largest difference within `bound` of `scale`, or else of the largest expected entry."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    if scale is None:
        scale = np.abs(expected).max(initial=0)
    error = np.abs(actual.astype(np.float64) - expected).max(initial=0)
    limit = bound * scale + np.finfo(actual.dtype).eps ** 2
    assert error <= limit, f"error {error:.2e} above {bound:.2e} of {scale:.2e}"


def check_operations(fast, case, dtype, edge):
    """Kernel matrix, products with it and AGOP of fast operations against the reference."""
    problem = make_problem(5, dtype, **EDGES[edge])
    # The same numbers in float64, from which the reference is computed.
    M, alpha = problem.M.astype(np.float64), problem.dual_coefficients.astype(np.float64)
    kernel, bound = case.kernel(len(M)), case.bound(dtype)
    train, evaluation = problem.train, problem.evaluation

    for other in (None, evaluation):
        actual = fast.kernel_matrix(kernel, problem.M, train, other)
        expected = _REFERENCE.kernel_matrix(kernel, M, train, other)
        assert_close(actual, expected.astype(dtype), bound)
        if other is None:
            np.testing.assert_array_equal(actual, actual.T)

    expected = _REFERENCE.decision_function(kernel, M, evaluation, train, alpha)
    actual = fast.decision_function(kernel, problem.M, evaluation, train, problem.dual_coefficients)
    assert_close(actual, expected.astype(dtype), bound)
    actual = fast.kernel_product(kernel, problem.M, evaluation, problem.dual_coefficients, train)
    assert_close(actual, expected.astype(dtype), bound)
    expected = _REFERENCE.kernel_product(kernel, M, train, alpha)
    actual = fast.kernel_product(kernel, problem.M, train, problem.dual_coefficients)
    assert_close(actual, expected.astype(dtype), bound)

    if case.name in ("laplace", "gaussian", "gaussian_paper") and kernel_has_kink(M, train):
        return  # the slope jumps where the squared distance changes sign
    # Centring can cancel all but rounding errors: errors are measured against the uncentred size.
    scale = np.abs(_REFERENCE.agop(kernel, M, train, alpha, False)).max()
    for centred in (False, True):
        expected = _REFERENCE.agop(kernel, M, train, alpha, centred)
        actual = fast.agop(kernel, problem.M, train, problem.dual_coefficients, centred)
        assert_close(actual, expected.astype(dtype), 10 * bound, scale)
        np.testing.assert_array_equal(actual, actual.T)


def check_power(actual, G, exponent, dtype):
    """G^s by what it is: positive semidefinite, and its power 1 / s is G.

    Entry by entry, the roots of eigenvalues that are zero but for rounding errors differ.
    """
    assert actual.dtype == dtype
    np.testing.assert_array_equal(actual, actual.swapaxes(-1, -2))
    bound = 1e-5 if dtype == "float32" else 1e-12
    assert np.linalg.eigvalsh(actual).min() >= -bound * np.abs(actual).max()
    assert_close(np.linalg.matrix_power(actual, round(1 / exponent)), G, 10 * bound)


def kernel_has_kink(M, train):
    X = one_hot(np, train, len(M), np.float64)
    q = np.diag(X @ M @ X.T)
    delta = q[:, None] + q[None, :] - 2 * X @ M @ X.T
    same = (train[:, None, :] == train[None, :, :]).all(axis=2)
    return bool((np.abs(delta[~same]) < 1e-3).any())


def bad_calls():
    good = make_problem(9)
    M, train, alpha = good.M, good.train, good.dual_coefficients
    yield "dtype", TypeError, "feature_matrix.*float32 or float64", (M.astype(int), train, alpha)
    yield (
        "mixed dtypes",
        TypeError,
        "dual_coefficients.*float64",
        (M, train, alpha.astype("float32")),
    )
    yield "index dtype", TypeError, "train.*int32", (M, train.astype("int64"), alpha)
    yield "not square", ValueError, "feature_matrix.*shape", (M[:, :7].copy(), train, alpha)
    yield "not contiguous", ValueError, "train.*contiguous", (M, train[::2], alpha)
    yield "index too large", ValueError, "train.*-1 to 9", (M, train + np.int32(5), alpha)
    yield (
        "wrong length",
        ValueError,
        r"dual_coefficients.*\(17, 4\).*\(16, 4\)",
        (M, train, alpha[:-1]),
    )
    yield "no points", ValueError, "train.*at least one", (M, train[:0], alpha[:0])


def make_data(p, seed=0, fraction=0.5):
    split = ModularTask("x+y", p).split(fraction, seed) if fraction < 1 else None
    if split is None:
        pairs = ModularTask("x+y", p).pairs
        return PairData(pairs, pairs.sum(axis=1) % p, pairs[:0], pairs[:0, 0], p, p)
    return PairData(split.X_train, split.y_train, split.X_test, split.y_test, p, p)
