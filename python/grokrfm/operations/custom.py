"""Checks of a kernel of one's own, by numbers, before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .kernels import CustomKernel

_STEP = 1e-5  # of central differences, in float64
_TOLERANCE = 1e-4  # of slopes, relative to the largest


def check_custom_kernel(kernel: CustomKernel) -> None:
    """Compare value and slopes with each other on a few hundred points, s² < q_x q_z.

    Raises
    ------
    ValueError
        If results have another shape, are not finite (s = q_x = q_z included, a point with itself),
        the value is not symmetric or a slope is not the derivative of the value.
    """
    rng = np.random.default_rng(0)
    q_x, q_z = rng.uniform(0.5, 4, (20, 1)), rng.uniform(0.5, 4, (1, 21))
    s = rng.uniform(-0.95, 0.95, (20, 21)) * np.sqrt(q_x * q_z)

    def value(*at: Any) -> NDArray[np.float64]:
        return _results(kernel, "value", at[0], lambda: [kernels.value(kernel, *at)])[0]

    def slopes(*at: Any) -> list[NDArray[np.float64]]:
        return _results(kernel, "slopes", at[0], lambda: kernels.slopes(kernel, *at))

    with np.errstate(all="ignore"):  # what is not finite is refused
        h = value(s, q_x, q_z)
        value(q_x, q_x, q_x)
        slopes(q_x, q_x, q_x)
        size = float(abs(h).max())
        asymmetry = float(abs(h - value(s.T, q_z.T, q_x.T).T).max())
        if asymmetry > 1e-8 * size:
            raise ValueError(
                f"kernel: expected h(s, q_x, q_z) = h(s, q_z, q_x) of {kernel!r}, "
                f"got values that differ by {asymmetry:.3g}"
            )
        given = slopes(s, q_x, q_z)
        expected = [
            (value(s + _STEP, q_x, q_z) - value(s - _STEP, q_x, q_z)) / (2 * _STEP),
            (value(s, q_x, q_z + _STEP) - value(s, q_x, q_z - _STEP)) / (2 * _STEP),
        ]
    bound = _TOLERANCE * max(float(abs(slope).max()) for slope in expected) + 1e-9 * size
    for by, slope, derivative in zip(("s", "q_z"), given, expected, strict=True):
        i, j = np.unravel_index(abs(slope - derivative).argmax(), s.shape)
        if abs(slope[i, j] - derivative[i, j]) > bound:
            raise ValueError(
                f"kernel: expected slopes of {kernel!r} with the derivative by {by}, "
                f"{derivative[i, j]:.6g} at s = {s[i, j]:.3g}, q_x = {q_x[i, 0]:.3g}, "
                f"q_z = {q_z[0, j]:.3g}, got {slope[i, j]:.6g}"
            )


def _results(
    kernel: CustomKernel, name: str, s: Any, call: Callable[[], Any]
) -> list[NDArray[np.float64]]:
    try:
        arrays = list(call())
    except Exception as error:
        raise ValueError(
            f"kernel: {name} of {kernel!r} failed on arrays: {type(error).__name__}: {error}"
        ) from error
    for array in arrays:
        if array.shape != s.shape or not np.isfinite(array).all():
            raise ValueError(
                f"kernel: expected finite numbers of the shape of s, {s.shape}, from {name} of "
                f"{kernel!r}, got shape {array.shape}, {np.isfinite(array).sum()} of {array.size} "
                "finite"
            )
    return arrays
