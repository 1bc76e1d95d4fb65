"""Preconditioned conjugate gradients for blocks of right-hand sides, on NumPy and CuPy arrays.

The rule of csrc/common/conjugate_gradients.h, whatever the axes of the arrays are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BATCHED_ROWS = 256  # of matrices that CuPy solves with all at once; larger ones go one by one
PATIENCE = 150  # steps within which a residual halves, or its column stops


def conjugate_gradients(
    xp: Any,
    times_kernel: Callable[[Any, Any], Any],
    precondition: Callable[[Any], Any],
    dots: Callable[[Any, Any], Any],
    spread: Callable[[Any], Any],
    Y: Any,
    V: Any,
    R: Any,
    tolerance: Any,
    max_iterations: int,
) -> tuple[Any, Any, Any, Any]:
    """Solve K V = Y for each right-hand side until its relative residual is within the tolerance.

    Parameters
    ----------
    xp : module
        numpy or cupy.
    times_kernel : callable
        times_kernel(V, open) returns K V, ridge included, where `open`, (k,), is true; anything
        finite elsewhere.
    precondition : callable
    dots : callable
        dots(U, V) returns the inner product for each right-hand side, (k,).
    spread : callable
        Returns numbers, (k,), in the shape and dtype to multiply such arrays with.
    Y, V, R : array
        Targets, start and its residual Y − K V.
    tolerance : float or array, shape (k,)
    max_iterations : int

    Returns
    -------
    V, R : array
        The solution and its true residual.
    iterations, residuals : array, shape (k,)
        Steps of each right-hand side; ‖R‖ / ‖Y‖, absolute where Y = 0.
    """
    norms = target_norms(xp, dots, Y)

    def relative(R: Any) -> Any:
        return xp.sqrt(dots(R, R)) / norms

    def worst(R: Any) -> Any:
        excess = relative(R) / tolerance
        return xp.where(~stopped & (excess > 0), excess, 0).max()  # one that is no number is done

    stopped = xp.zeros(norms.shape, dtype=bool)
    iterations = xp.zeros(norms.shape, dtype=int)
    left = max_iterations
    while left > 0:
        before = worst(R)
        if before <= 1:
            break
        Z = precondition(R)
        P, product = Z, dots(R, Z)
        halved, waited = relative(R), xp.zeros(norms.shape, dtype=int)
        while left > 0:
            residual = relative(R)
            open_ = ~stopped & (residual > tolerance)
            if not bool(open_.any()):
                break
            KP = times_kernel(P, open_)
            curvature = dots(P, KP)
            halves = residual <= 0.5 * halved
            halved, waited = xp.where(halves, residual, halved), xp.where(halves, 0, waited)
            goes_down = (curvature > 0) & (product > 0) & (waited < PATIENCE)
            stopped |= open_ & ~goes_down
            open_ &= ~stopped
            step = spread(xp.where(open_, product / xp.where(open_, curvature, 1), 0))
            V, R = V + step * P, R - step * KP
            iterations += open_
            waited += open_
            Z = precondition(R)
            following = dots(R, Z)
            factor = xp.where(product > 0, following / xp.where(product > 0, product, 1), 0)
            P, product = Z + spread(factor) * P, following
            left -= 1
        R = Y - times_kernel(V, xp.ones_like(stopped))
        if worst(R) > 0.5 * before:
            break
    return V, R, iterations, relative(R)


def target_norms(xp: Any, dots: Callable[[Any, Any], Any], Y: Any) -> Any:
    """‖Y‖ for each right-hand side, 1 where it is 0."""
    norms = xp.sqrt(dots(Y, Y))
    return xp.where(norms > 0, norms, 1)


def coarse_inverse(xp: Any, C: Any, G: Any) -> Any:
    """C (I + G C)⁻¹, of matrices with any leading axes.

    Woodbury's formula with it inverts Λ + W C Wᵀ: with G = Wᵀ Λ⁻¹ W the inverse is
    Λ⁻¹ − Λ⁻¹ W C (I + G C)⁻¹ Wᵀ Λ⁻¹.
    """
    damped = xp.eye(C.shape[-1], dtype=C.dtype) + C @ G
    if C.ndim > 2 and C.shape[-1] > BATCHED_ROWS:
        return xp.linalg.inv(damped) @ C  # matrices of any size at once
    return xp.linalg.solve(damped, C)
