"""The case table: one row a kernel, with the error bounds of its fast versions.

Reference, parity, gradient checks and benchmarks all run over these rows.
"""

from dataclasses import dataclass

import numpy as np
from grokrfm.kernels import Kernel, make_kernel


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
