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

from .conjugate_gradients import conjugate_gradients, target_norms

Form = tuple[float, float, float]  # pairs, norms, shift


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
        Inner products of the classes' new solutions with the last k, newest first.
    iterations, residuals : array, shape (c,)
        Conjugate-gradient steps and true relative residual of each column.
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


def renumbered(labels: Any, classes: Any, n_classes: int, xp: Any = np) -> Any:
    """Labels with the classes, (m,), numbered 0 … m − 1 in their order, and all others m.

    −1 stays. The columns 0 … m − 1 of a round are then any list of classes.
    """
    number = xp.full(n_classes + 1, len(classes), dtype=labels.dtype)
    number[-1] = -1
    number[classes] = xp.arange(len(classes), dtype=labels.dtype)
    return number[labels]


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


def coarse_matrix(M: Any, form: Form, ridge: float, mask: Any, operations: Any) -> Any:
    """C (I + G C)⁻¹ with C = 2 (pairs M∘M + norms v vᵀ) and G = Wᵀ diag(K)⁻¹ W, (…, 2p, 2p).

    Woodbury's formula with it inverts the preconditioner diag(K) + W C Wᵀ, W the indicators of
    rows and columns. Of k = pairs · s² the squares of the four look-ups in s depend on rows and
    columns alone: pairs M∘M, exactly. They make up about half of the diagonal too, hence the 2:
    half the diagonal is left to the cross terms.
    """
    xp = operations.device.xp
    weight = inverse_diagonal(M, form, ridge, mask, xp).astype(M.dtype)
    v = diagonal(M, xp) - form[2] / 2
    C = 2 * (form[0] * M * M + form[1] * v[..., :, None] * v[..., None, :])
    return operations.damped_inverse(C, pair_sums(weight, xp))


def second_moment(mask: Any, centred: bool, xp: Any = np) -> Any:
    """(1/n) Σ (x − x̄)(x − x̄)ᵀ over the training inputs, or uncentred, (…, 2p, 2p), float64."""
    weight = mask.astype(xp.float64)
    weight /= weight.sum(axis=(-2, -1), keepdims=True)
    S = pair_sums(weight, xp)
    if centred:
        mean = diagonal(S, xp)
        S = S - mean[..., :, None] * mean[..., None, :]
    return S


def moment_in_metric(M: Any, S: Any, operations: Any) -> Any:
    """Q = M S M, (…, 2p, 2p), in the precision of S."""
    m = M.astype(S.dtype, copy=False)
    return operations.product(operations.product(m, S), m, symmetric=True)


def agop_from_sums(M: Any, form: Form, S: Any, sums: GridSums, operations: Any) -> Any:
    """AGOP = 4 M (pairs² Σ ZQZ + pairs · norms (T M S + S M T) + norms² Σt² S) M, (…, 2p, 2p).

    T = Σ t Z; S is the second moment of the training inputs, centred for per-class centring.
    Computed in the precision of S.
    """
    (pairs, norms, _), product = form, operations.product
    m = M.astype(S.dtype, copy=False)
    inner = pairs**2 * sums.zqz.astype(S.dtype, copy=False)
    if norms:
        cross = product(product(sums.tz.astype(S.dtype, copy=False), m), S)
        inner += pairs * norms * (cross + mirrored(cross)) + norms**2 * sums.t_squared * S
    G = product(product(4 * m, inner), m, symmetric=True)
    return (0.5 * (G + mirrored(G))).astype(M.dtype, copy=False)


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
    xp: Any,
    problem: GridProblem,
    solutions: Any,
    own: Any,
    first_class: int = 0,
    targets: Any = None,
    target_tolerance: float = 0.0,
) -> GridSums:
    """Solve, evaluate and sum for the classes first_class … first_class + c − 1.

    Further right-hand sides are solved for alone: their solutions, steps and residuals follow those
    of the classes. Any list of classes is a range of labels that are numbered anew, with what is
    not in the list beyond the range.

    Parameters
    ----------
    xp : module
        numpy or cupy.
    problem : GridProblem
    solutions : array, shape (c + r, k, n)
        The last k solutions, newest first, the training pairs in row-major order. A solve puts its
        own in front and drops the oldest.
    own : array, shape (p, p)
        Receives the output of each pair's own class, where that is in the range.
    targets : array, shape (r, n), optional
        Further right-hand sides, done at a relative residual of target_tolerance.
    """
    M, form, ridge = problem.feature_matrix, problem.form, problem.ridge
    train_labels, test_labels = problem.train_labels, problem.test_labels
    p, columns = len(train_labels), len(solutions)
    c = columns - (0 if targets is None else len(targets))
    trained = train_labels >= 0
    mask = trained.astype(M.dtype)
    tolerance = xp.full(columns, problem.tolerance)
    tolerance[c:] = target_tolerance
    Y = xp.zeros((columns, p, p), dtype=M.dtype)
    Y[:c] = train_labels[None] == xp.arange(first_class, first_class + c)[:, None, None]
    if targets is not None:
        Y[c:, trained] = targets

    def scatter(compact: Any) -> Any:
        V = xp.zeros((columns, p, p), dtype=M.dtype)
        V[:, trained] = compact
        return V

    def dots(U: Any, V: Any) -> Any:
        return (U * V).sum(axis=(1, 2))

    def times_kernel(V: Any, open_: Any = None) -> Any:
        return mask * apply(M, form, V, xp) + ridge * V

    inverse = inverse_diagonal(M, form, ridge, mask, xp)

    def precondition(R: Any) -> Any:
        U = R * inverse
        lines = xp.concatenate([U.sum(axis=2), U.sum(axis=1)], axis=1) @ problem.coarse.T
        return U - (lines[:, :p, None] + lines[:, None, p:]) * inverse

    iterations = xp.zeros(columns, dtype=int)
    V = scatter(solutions[:, 0])
    if problem.max_iterations > 0:
        weights = enumerate(problem.prediction)
        V = scatter(sum(float(weight) * solutions[:, k] for k, weight in weights))
        energy = dots(V, times_kernel(V))
        scale = xp.where(energy > 0, dots(V, Y) / xp.where(energy > 0, energy, 1), 0)
        scale = scale[:, None, None]
        # The smallest error in the energy norm; zeros in the place of a start that is not finite.
        V = xp.where(scale == 0, 0, scale * V)
        V, _, iterations, _ = conjugate_gradients(
            xp,
            times_kernel,
            precondition,
            dots,
            lambda numbers: numbers[:, None, None],
            Y,
            V,
            Y - times_kernel(V),
            tolerance,
            problem.max_iterations,
        )
        solutions[:, 1:] = solutions[:, :-1].copy()
        solutions[:, 0] = V[:, trained]
    f = apply(M, form, V, xp)
    misses = Y - mask * f - ridge * V
    residuals = xp.sqrt(dots(misses, misses)) / target_norms(xp, dots, Y)
    f, V = f[:c], V[:c]
    for known in (train_labels, test_labels) if c else ():
        here = (known >= first_class) & (known < first_class + c)
        own[here] = xp.take_along_axis(
            f, xp.clip(known - first_class, 0, c - 1)[None].astype(xp.int64), axis=0
        )[0][here]
    train_squares, test_squares = ((f[:, at] ** 2).sum() for at in (trained, test_labels >= 0))
    zqz, tz, t_squared = _moments(xp, M, form, V, problem.moment)
    f = xp.where(f == f, f, -xp.inf)  # an output that is not a number is never the largest
    return GridSums(
        zqz=zqz,
        tz=tz,
        t_squared=t_squared,
        best=f.max(axis=0, initial=-np.inf),
        best_class=f.argmax(axis=0) + first_class if c else xp.zeros((p, p), dtype=int),
        train_squares=train_squares,
        test_squares=test_squares,
        products=(solutions[:c, :1].astype(xp.float64) * solutions[:c]).sum(axis=(0, 2)),
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
