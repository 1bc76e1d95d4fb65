"""Kernel functions k(x, z) = h(s, q_x, q_z) with s = xᵀMz, q_x = xᵀMx, q_z = zᵀMz.

One row of `KERNELS` a name: how its numbers follow from bandwidth, depth and dimension. The
formulas stand here once for arrays (NumPy and CuPy) and once in csrc/common/kernels.h for compiled
code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Kernel:
    """A kernel function with its numbers.

    Attributes
    ----------
    name : str
        Name of the formula: quadratic, general_quadratic, gaussian, laplace, quadratic_ntk or ntk.
    scale : float
        The formula's one constant: κ, 1/(2L²), 1/L or 1/d²; 1 where there is none.
    depth : int
        Number of hidden layers (ntk alone).
    """

    name: str
    scale: float = 1.0
    depth: int = 1


class CustomKernel(Kernel):
    """A kernel of one's own, h(s, q_x, q_z), for `RFMClassifier(kernel=...)`.

    It runs on the array backends, numpy and cupy. The first use compares the slopes with finite
    differences of the value.

    Parameters
    ----------
    name : str
        Another than those of `KERNELS`.
    value : callable
        value(s, q_x, q_z, xp) returns h, elementwise on arrays that broadcast to the shape of s:
        s = xᵀMz, q_x = xᵀMx, q_z = zᵀMz. `xp` is their module, numpy or cupy. h must be symmetric
        in q_x and q_z.
    slopes : callable
        slopes(s, q_x, q_z, xp) returns (∂h/∂s, ∂h/∂q_z). Both must be finite for x = z too.

    Raises
    ------
    TypeError, ValueError
        For a name that is taken or no name, functions that cannot be called.
    """

    def __init__(
        self,
        name: str,
        value: Callable[[Any, Any, Any, Any], Any],
        slopes: Callable[[Any, Any, Any, Any], tuple[Any, Any]],
    ) -> None:
        if not isinstance(name, str) or not name or name in KERNELS:
            raise ValueError(f"name: expected one that no other kernel has, got {name!r}")
        for argument, function in (("value", value), ("slopes", slopes)):
            if not callable(function):
                raise TypeError(f"{argument}: expected a function, got {function!r}")
        super().__init__(name)
        self.value = value
        self.slopes = slopes

    def __repr__(self) -> str:
        return f"CustomKernel({self.name!r})"

    def _key(self) -> tuple[Any, ...]:
        return self.name, self.value, self.slopes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomKernel) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


# name of the estimator's kernel -> (bandwidth L, depth, input dimension d) -> Kernel
KERNELS: dict[str, Callable[[float, int, int], Kernel]] = {
    "quadratic": lambda bandwidth, depth, d: Kernel("quadratic", 3.0),
    "general_quadratic": lambda bandwidth, depth, d: Kernel("general_quadratic"),
    "gaussian": lambda bandwidth, depth, d: Kernel("gaussian", 0.5 / bandwidth**2),
    "gaussian_paper": lambda bandwidth, depth, d: Kernel("gaussian", 1.0 / bandwidth),
    "laplace": lambda bandwidth, depth, d: Kernel("laplace", 1.0 / bandwidth),
    "quadratic_ntk": lambda bandwidth, depth, d: Kernel("quadratic_ntk", 1.0 / d**2),
    "ntk": lambda bandwidth, depth, d: Kernel("ntk", 1.0, depth),
}


def make_kernel(name: str, *, bandwidth: float, depth: int, dimension: int) -> Kernel:
    """Return the kernel of that name.

    ============================  ===================================================
    quadratic                     3 s²
    general_quadratic             ½ (q_x − 1)(q_z − 1) + s²
    gaussian                      exp(−δ / (2L²)), δ = max(q_x + q_z − 2s, 0)
    gaussian_paper                exp(−δ / L), the paper's other bandwidth convention
    laplace                       exp(−√δ / L)
    quadratic_ntk                 (q_x q_z + 6 s²) / d², NTK of networks with x² units
    ntk                           NTK of ReLU networks with `depth` hidden layers
    ============================  ===================================================

    Raises
    ------
    ValueError
        If the name is unknown, or the bandwidth so small or large that its square is not a number.
    """
    if name not in KERNELS:
        raise ValueError(f"kernel: expected one of {', '.join(KERNELS)}; got {name!r}")
    if not 1e-150 <= bandwidth <= 1e150:
        raise ValueError(f"bandwidth: expected a number from 1e-150 to 1e150, got {bandwidth}")
    return KERNELS[name](bandwidth, depth, dimension)


def quadratic_form(kernel: Kernel) -> tuple[float, float, float] | None:
    """(pairs, norms, shift) of h = pairs · s² + norms · (q_x − shift)(q_z − shift), or None.

    The kernels that have this form need no kernel matrix on pairs; see `grid`.
    """
    if isinstance(kernel, CustomKernel):
        return None
    match kernel.name:
        case "quadratic":
            return kernel.scale, 0.0, 0.0
        case "general_quadratic":
            return 1.0, 0.5, 1.0
        case "quadratic_ntk":
            return 6 * kernel.scale, kernel.scale, 0.0
    return None


def value(kernel: Kernel, s: Any, q_x: Any, q_z: Any, xp: Any = np) -> Any:
    """h(s, q_x, q_z), elementwise with broadcasting; `xp` is the arrays' module."""
    if isinstance(kernel, CustomKernel):
        return _like(s, kernel.value(s, q_x, q_z, xp), xp)
    match kernel.name:
        case "quadratic":
            return kernel.scale * s**2
        case "general_quadratic":
            return 0.5 * (q_x - 1) * (q_z - 1) + s**2
        case "gaussian":
            return xp.exp(-kernel.scale * xp.maximum(q_x + q_z - 2 * s, 0))
        case "laplace":
            return xp.exp(-kernel.scale * xp.sqrt(xp.maximum(q_x + q_z - 2 * s, 0)))
        case "quadratic_ntk":
            return kernel.scale * (q_x * q_z + 6 * s**2)
        case "ntk":
            norm, rho, positive = _cosine(s, q_x, q_z, xp)
            return xp.where(positive, norm * _ntk_theta(rho, kernel.depth, xp)[0], 0)
    raise ValueError(f"kernel: no formula is named {kernel.name!r}")


def slopes(kernel: Kernel, s: Any, q_x: Any, q_z: Any, xp: Any = np) -> tuple[Any, Any]:
    """(∂h/∂s, ∂h/∂q_z), each of the shape of `s`.

    Where h is not differentiable (Laplace at δ = 0, ReLU NTK at cosine 1) the diverging part
    counts as 0; "at" means up to the rounding error of the array's dtype.
    """
    if isinstance(kernel, CustomKernel):
        d_s, d_q = kernel.slopes(s, q_x, q_z, xp)
        return _like(s, d_s, xp), _like(s, d_q, xp)
    one = xp.ones_like(s)
    epsilon = xp.finfo(s.dtype).eps
    match kernel.name:
        case "quadratic":
            return 2 * kernel.scale * s, 0 * one
        case "general_quadratic":
            return 2 * s, 0.5 * (q_x - 1) * one
        case "gaussian":
            d_s = 2 * kernel.scale * value(kernel, s, q_x, q_z, xp)
            return d_s, -0.5 * d_s
        case "laplace":
            delta = q_x + q_z - 2 * s
            apart = ~(delta <= 4 * epsilon * (xp.abs(q_x) + xp.abs(q_z)))  # NaN is
            distance = xp.sqrt(xp.where(apart, delta, 1))
            d_s = kernel.scale * xp.exp(-kernel.scale * distance) / distance
            d_s = xp.where(apart, d_s, 0)
            return d_s, -0.5 * d_s
        case "quadratic_ntk":
            return 12 * kernel.scale * s, kernel.scale * q_x * one
        case "ntk":
            norm, rho, positive = _cosine(s, q_x, q_z, xp)
            theta, slope = _ntk_theta(rho, kernel.depth, xp)
            d_q = 0.5 * norm / xp.where(positive, q_z, 1) * (theta - rho * slope)
            return xp.where(positive, slope, 0), xp.where(positive, d_q, 0)
    raise ValueError(f"kernel: no formula is named {kernel.name!r}")


def _like(s: Any, result: Any, xp: Any) -> Any:
    """What a function of the user returned, a number maybe, as a new array like s."""
    return (xp.zeros_like(s) + result).astype(s.dtype)


def _cosine(s: Any, q_x: Any, q_z: Any, xp: Any) -> tuple[Any, Any, Any]:
    """Return √(q_x q_z), the cosine s/√(q_x q_z) and where neither norm is ≤ 0."""
    positive = xp.logical_not((q_x <= 0) | (q_z <= 0))  # NaN is
    norm = xp.sqrt(xp.where(positive, q_x * q_z, 1))
    return norm, xp.clip(s / norm, -1, 1), positive


def _ntk_theta(rho: Any, depth: int, xp: Any) -> tuple[Any, Any]:
    """θ(ρ) and θ'(ρ) of the ReLU NTK on unit vectors: the arc-cosine recursion."""
    theta, slope, rho_slope = rho, xp.ones_like(rho), xp.ones_like(rho)
    epsilon = xp.finfo(rho.dtype).eps
    for _ in range(depth):
        sine_squared = (1 - rho) * (1 + rho)
        sine = xp.sqrt(sine_squared)
        smooth = sine_squared > 4 * epsilon
        kappa_0 = 1 - xp.arccos(rho) / np.pi
        kappa_0_slope = xp.where(smooth, 1 / (np.pi * xp.where(smooth, sine, 1)), 0)
        kappa_1 = rho * kappa_0 + sine / np.pi
        slope = slope * kappa_0 + theta * kappa_0_slope * rho_slope + kappa_0 * rho_slope
        theta = theta * kappa_0 + kappa_1
        rho_slope = rho_slope * kappa_0
        rho = xp.minimum(kappa_1, 1)
    return theta, slope
