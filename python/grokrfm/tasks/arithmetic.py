"""Exact integer arithmetic modulo p."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def prime_factors(number: int) -> list[int]:
    """Return the distinct prime factors of a number ≥ 1, ascending, by trial division."""
    factors, candidate = [], 2
    while candidate * candidate <= number:
        if number % candidate == 0:
            factors.append(candidate)
            while number % candidate == 0:
                number //= candidate
        candidate += 1
    return [*factors, number] if number > 1 else factors


def is_prime(number: int) -> bool:
    """Whether `number` is prime."""
    return number > 1 and prime_factors(number) == [number]


def require_prime(modulus: int, purpose: str) -> None:
    """Raise ValueError unless the modulus is prime; `purpose` says what needs it."""
    if not is_prime(modulus):
        raise ValueError(f"modulus: {purpose} needs a prime modulus, got {modulus}")


def inverses(modulus: int) -> NDArray[np.int64]:
    """Return the multiplicative inverses modulo a prime, (p,); entry 0 is 0."""
    return np.array([0] + [pow(r, -1, modulus) for r in range(1, modulus)], dtype=np.int64)


def primitive_root(modulus: int) -> int:
    """Return the smallest generator of the multiplicative group modulo a prime."""
    exponents = [(modulus - 1) // factor for factor in prime_factors(modulus - 1)]
    return next(g for g in range(1, modulus) if all(pow(g, e, modulus) != 1 for e in exponents))
