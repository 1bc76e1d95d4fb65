"""Reflections of pairs: the maps that splits can be symmetric under.

The dihedral group of the p-gon acts on pairs of residues: the rotation r takes (a, b) to
(a + 1, b − 1), the reflection s to (b, a). s r s = r⁻¹, and a + b stays what it is: the p pairs of
a label are the corners of a p-gon, and every label of x + y has its own. The reflection
s rᵏ, r first, takes (a, b) to (b − k, a + k) and is its own inverse.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .formulas import IntArray

Reflection = Callable[[IntArray, IntArray], tuple[IntArray, IntArray]]
REFLECTIONS: dict[str, Reflection] = {"swap": lambda a, b: (b, a), "negate": lambda a, b: (-a, -b)}


def reflect(pairs: IntArray, modulus: int, k: int) -> IntArray:
    """Return the images of pairs (n, 2) under s rᵏ, (b − k, a + k) modulo p."""
    images: IntArray = (pairs[:, ::-1] + np.array([-k, k])) % modulus
    return images
