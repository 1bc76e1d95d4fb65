"""The Features at Convergence Theorem (FACT, arXiv 2507.05644) for kernel machines.

At a stationary point of a loss with weight decay λ the first weights W of a network on W x obey
WᵀW = −1/(nλ) Σ_j ∇ℓ_j x_jᵀ, ∇ℓ_j the gradient of the loss of x_j by x_j. Kernel ridge regression
has residuals −nλ α_j, of half the squared error and the ridge nλ, so that the right side is

    F = Σ_jc α_jc ∇f_c(x_j) x_jᵀ,

whatever λ, and in the limit λ → 0 too. With ∇f_c(x_j) = M u_jc of the AGOP, and B = α αᵀ,
F = M S with S = Xᵀ (B ∘ ∂h/∂s) X + 2 Xᵀ diag(1ᵀ (B ∘ ∂h/∂q_z)) X, symmetric.

FACT-RFM goes towards M = F. M_{t+1} = (F Fᵀ)^{1/2} does not get there where it matters most: of the
ridgeless quadratic kernel F falls as M⁻², and its scale runs away. Its form with geometric
averaging, (F M² Fᵀ)^{1/4}, has the same fixed points. F M = M S M is symmetric, so that is
|F M|^{1/2}: |F M| stands where RFM has the AGOP.
"""

from __future__ import annotations

from typing import Any

from .grid import Form, GridSums
from .kernels import Kernel, slopes
from .reference import one_hot

_BLOCK = 256  # points at a time


def fact_matrix(xp: Any, kernel: Kernel, M: Any, train: Any, dual_coefficients: Any) -> Any:
    """F over the training points, (d, d), of any kernel.

    About 2 n² (c + 2 d) flops, and blocks of n × 256 numbers.

    Parameters
    ----------
    xp : module
        numpy or cupy.
    kernel : Kernel
    M : array, shape (d, d)
    train : array of int32, shape (n, k)
        Active indices.
    dual_coefficients : array, shape (n, c)
    """
    alpha, X = dual_coefficients, one_hot(xp, train, len(M), M.dtype)
    XM = X @ M
    q, inner = (XM * X).sum(axis=1), xp.zeros_like(M)
    for first in range(0, len(X), _BLOCK):
        of = slice(first, first + _BLOCK)
        Z, B = X[of], alpha @ alpha[of].T
        d_s, d_q = slopes(kernel, XM @ Z.T, q[:, None], q[None, of], xp)
        inner += X.T @ ((B * d_s) @ Z) + 2 * Z.T @ ((B * d_q).sum(axis=0)[:, None] * Z)
    return M @ inner


def fact_from_sums(M: Any, form: Form, sums: GridSums) -> Any:
    """F of the quadratic family, 2 M (pairs Σ Z M Z + norms Σ t Z), (…, 2p, 2p).

    From the sums of a round whose `moment` was M; the letters are those of `grid.agop_from_sums`.
    """
    pairs, norms, _ = form
    return 2 * M @ (pairs * sums.zqz + norms * sums.tz)


def fact_update(xp: Any, F: Any, M: Any) -> Any:
    """|F M|, (…, d, d), whose root is the next feature matrix; in the dtype of M.

    The absolute value is that of the eigenvalues: of the quadratic kernel F M is positive
    semidefinite, of the Gaussian kernel it is not.
    """
    product = (F @ M).astype(xp.float64)
    eigenvalues, vectors = xp.linalg.eigh(0.5 * (product + product.swapaxes(-1, -2)))
    half = vectors * xp.sqrt(abs(eigenvalues))[..., None, :]
    return (half @ half.swapaxes(-1, -2)).astype(M.dtype)
