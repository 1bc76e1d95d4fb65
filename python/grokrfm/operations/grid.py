"""Rounds of the quadratic family on the p × p grid of pairs, without a kernel matrix.

For kernels k = pairs · s² + norms · (q_x − shift)(q_z − shift) the dual coefficients of a class are
a grid V; prediction on all pairs costs 10 p³ flops a class and the AGOP has a closed form. The
mathematics stands in csrc/grid_round.h. Here: what a round shares over its classes, and the array
source of the round itself, the reference for the compiled one and the CuPy path.

What is shared is written for matrices with any leading axes: on a GPU the runs of one modulus go
through a round together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Form = tuple[float, float, float]  # pairs, norms, shift
PATIENCE = 150  # steps within which the residual of a class halves, or the class stops


@dataclass(frozen=True)
class GridProblem:
    """What all classes of a round share. Several runs: arrays with a leading axis.

    Attributes
    ----------
    feature_matrix, coarse, moment : array, shape (2p, 2p)
        M, `coarse_matrix` and Q = M S M with the second moment S.
    form : tuple of float
        (pairs, norms, shift) of the kernel.
    ridge : float
    train_labels, test_labels : array of int32, shape (p, p)
        −1 off the training and test pairs.
    tolerance : float
        Relative residual ‖y − K α‖ / ‖y‖ at which a class is done.
    max_iterations : int
        0 takes the newest solutions as they are.
    prediction : list of float
        Weights of the last solutions, newest first: the combination to start from. Several runs:
        an array (runs, weights).
    """

    feature_matrix: Any
    form: Form
    ridge: float
    train_labels: Any
    test_labels: Any
    coarse: Any
    moment: Any
    tolerance: float
    max_iterations: int
    prediction: Any


@dataclass
class GridSums:
    """What a range of classes adds to a round; ranges add up.

    Attributes
    ----------
    zqz, tz : array, shape (2p, 2p)
        Σ_c Z_c Q Z_c and Σ_c t_c Z_c.
    t_squared : float or array
        Σ_c t_c²; of shape (…, 1, 1) for several runs.
    best, best_class : array, shape (p, p)
        Largest output of each pair and its class.
    train_squares, test_squares : float or array
        Sum of the squared outputs on training and test pairs.
    products : array of float64, shape (k,)
        Inner products of the new solutions with the last k, newest first.
    iterations, residuals : array, shape (c,)
        Conjugate-gradient steps and true relative residual of each class.
    """

    zqz: Any
    tz: Any
    t_squared: Any
    best: Any
    best_class: Any
    train_squares: Any
    test_squares: Any
    products: Any
    iterations: Any
    residuals: Any


def blocks(M: Any) -> tuple[Any, Any, Any]:
    """Return A, B and D of M = [[A, B], [Bᵀ, D]], each (…, p, p)."""
    p = M.shape[-1] // 2
    return M[..., :p, :p], M[..., :p, p:], M[..., p:, p:]


def diagonal(matrix: Any, xp: Any = np) -> Any:
    """Diagonals of matrices, (…, d)."""
    return xp.diagonal(matrix, axis1=-2, axis2=-1)


def mirrored(matrix: Any) -> Any:
    """Transposes of matrices."""
    return matrix.swapaxes(-1, -2)


def shifted_norms(M: Any, form: Form, xp: Any = np) -> Any:
    """q(a, b) − shift on all pairs, (…, p, p)."""
    A, B, D = blocks(M)
    return diagonal(A, xp)[..., :, None] + diagonal(D, xp)[..., None, :] + 2 * B - form[2]


def kernel_diagonal(M: Any, form: Form, xp: Any = np) -> Any:
    """k(x, x) on all pairs, (…, p, p)."""
    shifted = shifted_norms(M, form, xp)
    return form[0] * (shifted + form[2]) ** 2 + form[1] * shifted**2


def inverse_diagonal(M: Any, form: Form, ridge: float, mask: Any, xp: Any = np) -> Any:
    """1 / (k(x, x) + ridge) on training pairs, (…, p, p); 0 off them and where it is not > 0."""
    entries = kernel_diagonal(M, form, xp) + ridge
    good = (mask > 0) & (entries > 0)
    return xp.where(good, 1 / xp.where(good, entries, 1), 0)


def pair_sums(weight: Any, xp: Any = np) -> Any:
    """Σ weight(x) x xᵀ over pairs x = e_a ⊕ e_b for weights (…, p, p), (…, 2p, 2p)."""
    p = weight.shape[-1]
    sums = xp.zeros((*weight.shape[:-2], 2 * p, 2 * p), dtype=weight.dtype)
    sums[..., :p, p:], sums[..., p:, :p] = weight, mirrored(weight)
    line = xp.arange(2 * p)
    sums[..., line, line] = xp.concatenate([weight.sum(axis=-1), weight.sum(axis=-2)], axis=-1)
    return sums


def coarse_matrix(M: Any, form: Form, ridge: float, mask: Any, xp: Any = np) -> Any:
    """C (I + G C)⁻¹ with C = 2 (pairs M∘M + norms v vᵀ) and G = Wᵀ diag(K)⁻¹ W, (…, 2p, 2p).

    Woodbury's formula with it inverts the preconditioner diag(K) + W C Wᵀ, W the indicators of
    rows and columns. Of k = pairs · s² the squares of the four look-ups in s depend on rows and
    columns alone: pairs M∘M, exactly. They make up about half of the diagonal too, hence the 2:
    half the diagonal is left to the cross terms.
    """
    weight = inverse_diagonal(M, form, ridge, mask, xp).astype(M.dtype)
    v = diagonal(M, xp) - form[2] / 2
    C = 2 * (form[0] * M * M + form[1] * v[..., :, None] * v[..., None, :])
    G = pair_sums(weight, xp)
    return xp.linalg.solve(xp.eye(M.shape[-1], dtype=M.dtype) + C @ G, C)


def second_moment(mask: Any, centred: bool, xp: Any = np) -> Any:
    """(1/n) Σ (x − x̄)(x − x̄)ᵀ over the training inputs, or uncentred, (…, 2p, 2p), float64."""
    weight = mask.astype(xp.float64)
    weight /= weight.sum(axis=(-2, -1), keepdims=True)
    S = pair_sums(weight, xp)
    if centred:
        mean = diagonal(S, xp)
        S = S - mean[..., :, None] * mean[..., None, :]
    return S


def agop_from_sums(M: Any, form: Form, S: Any, sums: GridSums) -> Any:
    """AGOP = 4 M (pairs² Σ ZQZ + pairs · norms (T M S + S M T) + norms² Σt² S) M, (…, 2p, 2p).

    T = Σ t Z; S is the second moment of the training inputs, centred for per-class centring.
    """
    pairs, norms, _ = form
    m = M.astype(S.dtype)
    inner = pairs**2 * sums.zqz.astype(S.dtype)
    if norms:
        cross = sums.tz.astype(S.dtype) @ m @ S
        inner += pairs * norms * (cross + mirrored(cross)) + norms**2 * sums.t_squared * S
    G = 4 * m @ inner @ m
    return (0.5 * (G + mirrored(G))).astype(M.dtype)


def apply(M: Any, form: Form, V: Any, xp: Any = np) -> Any:
    """Outputs f on all pairs, (c, p, p), for dual coefficients V, (c, p, p)."""
    A, B, D = blocks(M)
    pairs, norms, _ = form
    r, s = V.sum(axis=2), V.sum(axis=1)
    VD, VB = V @ D, V @ B.T
    W12 = A @ (VD + r[:, :, None] * B) + B @ (s[:, :, None] * D) + VB.transpose(0, 2, 1) @ B
    lines = xp.concatenate([r, s], axis=1) @ (M * M)
    w = lines + 2 * xp.concatenate([(A * VB).sum(axis=1), (B * VD).sum(axis=1)], axis=1)
    p = len(A)
    f = pairs * (w[:, :p, None] + w[:, None, p:] + 2 * W12)
    if norms:
        shifted = shifted_norms(M, form, xp)
        f = f + norms * (V * shifted).sum(axis=(1, 2))[:, None, None] * shifted
    return f


def grid_round(
    xp: Any, problem: GridProblem, solutions: Any, own: Any, first_class: int = 0
) -> GridSums:
    """Solve, evaluate and sum for the classes first_class … first_class + c − 1.

    Parameters
    ----------
    xp : module
        numpy or cupy.
    problem : GridProblem
    solutions : array, shape (c, k, n)
        The last k solutions, newest first, the training pairs in row-major order. A solve puts its
        own in front and drops the oldest.
    own : array, shape (p, p)
        Receives the output of each pair's own class, where that is in the range.
    """
    M, form, ridge = problem.feature_matrix, problem.form, problem.ridge
    train_labels, test_labels = problem.train_labels, problem.test_labels
    tolerance = problem.tolerance
    p, c = len(train_labels), len(solutions)
    trained = train_labels >= 0
    mask = trained.astype(M.dtype)
    labels = xp.arange(first_class, first_class + c)[:, None, None]
    Y = (train_labels[None] == labels).astype(M.dtype)
    target_norms = xp.sqrt(Y.sum(axis=(1, 2)))
    target_norms = xp.where(target_norms > 0, target_norms, 1)

    def scatter(compact: Any) -> Any:
        V = xp.zeros((c, p, p), dtype=M.dtype)
        V[:, trained] = compact
        return V

    def dots(U: Any, V: Any) -> Any:
        return (U * V).sum(axis=(1, 2))

    def relative(R: Any) -> Any:
        return xp.sqrt(dots(R, R)) / target_norms

    def worst(R: Any) -> float:
        residual = relative(R)  # a class that is not a number counts as done
        return float(xp.where(stopped | (residual != residual), 0, residual).max())

    def times_kernel(V: Any) -> Any:
        return mask * apply(M, form, V, xp) + ridge * V

    inverse = inverse_diagonal(M, form, ridge, mask, xp)

    def precondition(R: Any) -> Any:
        U = R * inverse
        lines = xp.concatenate([U.sum(axis=2), U.sum(axis=1)], axis=1) @ problem.coarse.T
        return U - (lines[:, :p, None] + lines[:, None, p:]) * inverse

    iterations = xp.zeros(c, dtype=int)
    V = scatter(solutions[:, 0])
    if problem.max_iterations > 0:
        weights = enumerate(problem.prediction)
        V = scatter(sum(float(weight) * solutions[:, k] for k, weight in weights))
        energy = dots(V, times_kernel(V))
        scale = xp.where(energy > 0, dots(V, Y) / xp.where(energy > 0, energy, 1), 0)
        scale = scale[:, None, None]
        # The smallest error in the energy norm; zeros in the place of a start that is not finite.
        V = xp.where(scale == 0, 0, scale * V)
        stopped = xp.zeros(c, dtype=bool)
        R = Y - times_kernel(V)
        left = problem.max_iterations
        while left > 0:
            before = worst(R)
            if before <= tolerance:
                break
            Z = precondition(R)
            P, product = Z, dots(R, Z)
            halved, waited = relative(R), xp.zeros(c, dtype=int)
            while left > 0:
                residual = relative(R)
                open_ = ~stopped & (residual > tolerance)
                if not bool(open_.any()):
                    break
                KP = times_kernel(P)
                curvature = dots(P, KP)
                halves = residual <= 0.5 * halved
                halved, waited = xp.where(halves, residual, halved), xp.where(halves, 0, waited)
                goes_down = (curvature > 0) & (product > 0) & (waited < PATIENCE)
                stopped |= open_ & ~goes_down
                open_ &= ~stopped
                step = xp.where(open_, product / xp.where(open_, curvature, 1), 0)[:, None, None]
                V, R = V + step * P, R - step * KP
                iterations += open_
                waited += open_
                Z = precondition(R)
                following = dots(R, Z)
                factor = xp.where(product > 0, following / xp.where(product > 0, product, 1), 0)
                P, product = Z + factor[:, None, None] * P, following
                left -= 1
            R = Y - times_kernel(V)
            if worst(R) > 0.5 * before:
                break
        solutions[:, 1:] = solutions[:, :-1].copy()
        solutions[:, 0] = V[:, trained]
    f = apply(M, form, V, xp)
    for known in (train_labels, test_labels):
        here = (known >= first_class) & (known < first_class + c)
        own[here] = xp.take_along_axis(
            f, xp.clip(known - first_class, 0, c - 1)[None].astype(xp.int64), axis=0
        )[0][here]
    residuals = relative(Y - mask * f - ridge * V)
    train_squares, test_squares = ((f[:, at] ** 2).sum() for at in (trained, test_labels >= 0))
    zqz, tz, t_squared = _moments(xp, M, form, V, problem.moment)
    f = xp.where(f == f, f, -xp.inf)  # an output that is not a number is never the largest
    return GridSums(
        zqz=zqz,
        tz=tz,
        t_squared=t_squared,
        best=f.max(axis=0),
        best_class=f.argmax(axis=0) + first_class,
        train_squares=train_squares,
        test_squares=test_squares,
        products=(solutions[:, :1].astype(xp.float64) * solutions).sum(axis=(0, 2)),
        iterations=iterations,
        residuals=residuals,
    )


def _moments(xp: Any, M: Any, form: Form, V: Any, Q: Any) -> tuple[Any, Any, Any]:
    """Σ Z Q Z, Σ t Z and Σ t², class by class."""
    zqz, tz, t_squared = xp.zeros_like(M), xp.zeros_like(M), 0.0
    shifted = shifted_norms(M, form, xp)
    for grid in V:
        Z = pair_sums(grid, xp)
        zqz += Z @ Q @ Z
        if form[1]:
            t = (grid * shifted).sum()
            tz += t * Z
            t_squared += t * t
    return zqz, tz, t_squared
