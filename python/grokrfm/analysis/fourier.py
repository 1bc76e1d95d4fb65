"""Fourier analysis: the multiplication algorithm, spectra of feature blocks, theorem 5.1.

F is the unitary discrete Fourier transform of length p.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import array_module
from ..checks import check_integer, check_one_of, check_pairs, check_square
from ..operations import ArrayOperations, Kernel
from ..tasks import check_operation, pair_indices, require_prime
from .features import ORIENTATIONS, circulant, discrete_logarithm, lines

__all__ = [
    "Agreement",
    "Predictor",
    "TheoremCheck",
    "agreement",
    "block_spectrum",
    "check_theorem",
    "fourier_multiplication",
    "inverse_participation_ratio",
    "line_energies",
]


def fourier_multiplication(
    X: ArrayLike, modulus: int, operation: str = "x+y"
) -> NDArray[np.float64]:
    """Outputs of the Fourier Multiplication Algorithm on pairs of residues.

    f_ℓ(x) = √p ⟨F x₁ ∘ F x₂, F e_ℓ⟩ for addition (paper, section 5), with conj(F x₂) in place of
    F x₂ for subtraction. Multiplication and division are addition and subtraction of discrete
    logarithms, modulo p − 1; a pair whose product or quotient is 0 has output 1 in class 0.

    Parameters
    ----------
    X : array_like of int, shape (n, 2)
        Pairs (a, b); b ≠ 0 for division.
    modulus : int
        p ≥ 2, prime for multiplication and division.
    operation : {"x+y", "x-y", "x*y", "x/y"}

    Returns
    -------
    ndarray of float64, shape (n, p)
        1 in the column of the result and 0 elsewhere, up to rounding.

    Raises
    ------
    TypeError, ValueError
        For an unknown operation, pairs out of range, a division by 0, a composite modulus where a
        prime is needed.
    """
    operation = check_operation(operation, ORIENTATIONS)
    p = check_integer("modulus", modulus, minimum=2)
    pairs = check_pairs("X", X, p)
    inverse = operation in ("x-y", "x/y")
    if operation in ("x+y", "x-y"):
        return _multiply(pairs, p, inverse)
    require_prime(p, f"operation {operation!r}")
    if operation == "x/y" and (pairs[:, 1] == 0).any():
        raise ValueError("X: expected a second operand other than 0 for division, got 0")
    logarithm = discrete_logarithm(p)
    outputs = np.zeros((len(pairs), p))
    units = (pairs > 0).all(axis=1)
    outputs[~units, 0] = 1
    by_exponent = _multiply(logarithm[pairs[units]], p - 1, inverse)
    outputs[np.ix_(units, np.arange(1, p))] = by_exponent[:, logarithm[1:]]
    return outputs


def _multiply(pairs: NDArray[np.int64], length: int, inverse: bool) -> NDArray[np.float64]:
    """√p F⁻¹(F x₁ ∘ F x₂), or with conj(F x₂), for the unit vectors of the pairs, (n, length)."""
    transforms = np.fft.fft(np.eye(length), norm="ortho")
    first, second = transforms[pairs[:, 0]], transforms[pairs[:, 1]]
    product = first * (second.conj() if inverse else second)
    outputs: NDArray[np.float64] = np.sqrt(length) * np.fft.ifft(product, norm="ortho").real
    return outputs


class Predictor(Protocol):
    """Anything with outputs on pairs: `RFMClassifier`, `FCNClassifier`."""

    def decision_function(self, X: ArrayLike, /) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Agreement:
    """How far a predictor is the Fourier Multiplication Algorithm on some pairs.

    `predictions` is the share of pairs with the same largest output, `outputs` the Pearson
    correlation of all outputs.
    """

    predictions: float
    outputs: float


def agreement(model: Predictor, X: ArrayLike, modulus: int, operation: str) -> Agreement:
    """Compare a fitted predictor with the Fourier Multiplication Algorithm on pairs X, (n, 2).

    Raises
    ------
    TypeError, ValueError
        As `fourier_multiplication`; for no pairs at all or a model of another modulus.
    """
    expected = fourier_multiplication(X, modulus, operation)
    if len(expected) == 0:
        raise ValueError("X: expected at least one pair, got none")
    outputs = np.asarray(model.decision_function(X), dtype=np.float64)
    if outputs.shape != expected.shape:
        raise ValueError(
            f"model: expected outputs of shape {expected.shape} modulo {modulus}, "
            f"got {outputs.shape}"
        )
    return Agreement(
        predictions=float((outputs.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        outputs=float(np.corrcoef(outputs.ravel(), expected.ravel())[0, 1]),
    )


def block_spectrum(block: Any) -> Any:
    """Two-dimensional unitary DFT of a feature block, (p, p) complex: entry (k, l).

    A circulant block has entries on the line k + l ≡ 0 alone, a Hankel block on k ≡ l.

    Raises
    ------
    TypeError, ValueError
        If the block is not a finite square matrix.
    """
    matrix = check_square("block", block)
    return array_module(matrix).fft.fft2(matrix, norm="ortho")


def line_energies(block: Any, orientation: str) -> Any:
    """Share of a block's energy at each frequency of its circulant or Hankel line, (p,).

    Entry k is the squared modulus of that of `block_spectrum` at (k, ∓k), by ‖block‖_F²; entry 0
    the mean's. All together they are 1 less `features.circulant_deviation` in that orientation; NaN
    for a zero block. O(p²) flops.

    Raises
    ------
    TypeError, ValueError
        If the block is not a finite square matrix or the orientation unknown.
    """
    check_one_of("orientation", orientation, ("circulant", "hankel"))
    matrix = check_square("block", block)
    xp, p = array_module(matrix), len(matrix)
    norm = float((matrix**2).sum())
    if norm == 0:
        return xp.full(p, np.nan)
    # On its line the transform of the block is that of the sums over the wrapped lines.
    transform = xp.fft.fft(lines(matrix, orientation).sum(axis=0))
    return (transform.real**2 + transform.imag**2) / (p * p * norm)


def inverse_participation_ratio(energies: Any) -> float:
    """Σ w_k² of the energies at frequencies k ≥ 1, made to sum to 1; NaN where they are all 0.

    1 / (p − 1) where all frequencies take part alike, 1/2 where a single cosine does (1 at the
    highest frequency of an even length, which is its own mirror image).

    Parameters
    ----------
    energies : array_like, shape (p,)
        What `line_energies` returns.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    xp = array_module(energies)
    line = xp.asarray(energies, dtype=np.float64)
    if line.ndim != 1:
        raise ValueError(f"energies: expected shape (p,), got {line.shape}")
    rest = line[1:]
    total = float(rest.sum())
    return float((rest**2).sum()) / total**2 if total > 0 else float("nan")


@dataclass(frozen=True)
class TheoremCheck:
    """Theorem 5.1 in numbers, class by class.

    Attributes
    ----------
    difference : ndarray, shape (p,)
        Largest distance of kernel machine and Fourier Multiplication Algorithm over all p² pairs.
    condition : ndarray, shape (p,)
        Condition number of each class's kernel matrix.
    """

    difference: NDArray[np.float64]
    condition: NDArray[np.float64]


def check_theorem(modulus: int, operation: str = "x-y") -> TheoremCheck:
    """Compare theorem 5.1's kernel machines with the Fourier Multiplication Algorithm.

    Class ℓ has a machine of its own, trained on all p² pairs without ridge: the kernel (xᵀM_ℓz)²
    with M_ℓ = [[0, B], [Bᵀ, 0]]. Counting from 0, with C the circulant with first row e₁: for
    subtraction B = C^{−ℓ}, 1 where i − j ≡ ℓ; for addition B = C^{−ℓ} R with the reversal R, 1
    where i + j ≡ ℓ. The paper writes C^ℓ in both. Equality holds on pairs of unit vectors, not on
    all of R^{2p}. About 3 p⁷ flops.

    Parameters
    ----------
    modulus : int
        p ≥ 2.
    operation : {"x-y", "x+y"}

    Raises
    ------
    TypeError, ValueError
        For a bad modulus or operation.
    """
    check_one_of("operation", operation, ("x-y", "x+y"))
    p = check_integer("modulus", modulus, minimum=2)
    pairs = np.argwhere(np.ones((p, p), dtype=bool))
    expected = fourier_multiplication(pairs, p, operation)
    labels = expected.argmax(axis=1)
    inputs = pair_indices(pairs, p)
    operations, kernel = ArrayOperations(), Kernel("quadratic")
    difference, condition = np.empty(p), np.empty(p)
    orientation = "circulant" if operation == "x-y" else "hankel"
    for label in range(p):
        # One wrapped line: B[i, j] = 1 where i − j ≡ ℓ, or i + j ≡ ℓ.
        B = circulant(np.eye(p)[label], orientation)
        M = np.block([[np.zeros((p, p)), B], [B.T, np.zeros((p, p))]])
        K = operations.kernel_matrix(kernel, M, inputs)
        alpha = np.linalg.solve(K, (labels == label).astype(np.float64))
        outputs = operations.decision_function(kernel, M, inputs, inputs, alpha[:, None])[:, 0]
        difference[label] = np.abs(outputs - expected[:, label]).max()
        condition[label] = np.linalg.cond(K)
    return TheoremCheck(difference, condition)
