"""Operations on pairs of residues as tasks: by name, by function, by table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..checks import check_integer, check_integer_array, check_one_of
from .arithmetic import require_prime
from .formulas import FORMULAS, SHUFFLED, IntArray, check_operation
from .reflections import REFLECTIONS, Reflection, reflect
from .split import Split, Task, count_of_fraction


class ModularTask(Task):
    """An operation on pairs of residues.

    Parameters
    ----------
    operation : str or callable
        One of `grokrfm.tasks.OPERATIONS`, or a function of two Python integers in [0, modulus)
        that returns an integer, taken modulo `modulus`, or None where it is not defined.
    modulus : int
        p ≥ 2. Operations with a division need a prime.

    Attributes
    ----------
    operation : str
        Name of the operation ("table" for `from_table`, a callable's own name).
    modulus, n_classes : int
        Residues are 0…modulus−1, labels 0…n_classes−1.
    table : ndarray of int64, shape (p, p)
        Label of every pair, −1 where the operation is not defined.
    pairs : ndarray of int64, shape (N, 2)
        The pairs on which it is defined, in lexicographic order.
    labels : ndarray of int64, shape (N,)

    Raises
    ------
    TypeError, ValueError
        For an unknown operation, a modulus below 2, a composite modulus where a prime is needed.
    """

    def __init__(self, operation: str | Callable[[int, int], int | None], modulus: int) -> None:
        modulus = check_integer("modulus", modulus, minimum=2)
        if callable(operation):
            name = getattr(operation, "__name__", "callable")
            table = _tabulate(operation, modulus)
        else:
            name = self._formula = check_operation(operation)
            if "/" in name:
                require_prime(modulus, f"operation {name!r}")
            x, y = np.indices((modulus, modulus), dtype=np.int64)
            table = FORMULAS[name](x, y, modulus)
            if name == "x/y":
                table[:, 0] = -1
        self._set(name, table, modulus)

    @classmethod
    def from_table(cls, table: ArrayLike) -> ModularTask:
        """Return the task of any p × p table of class labels, such as a group's Cayley table.

        Parameters
        ----------
        table : array_like of int, shape (p, p)
            Labels ≥ 0, or −1 for pairs to leave out.
        """
        array = check_integer_array("table", table, ndim=2)
        if array.shape[0] != array.shape[1] or len(array) < 2:
            raise ValueError(f"table: expected shape (p, p) with p >= 2, got {array.shape}")
        if array.min() < -1 or array.max() < 0:
            raise ValueError(
                "table: expected labels >= 0, or -1 for pairs to leave out, "
                f"got values from {array.min()} to {array.max()}"
            )
        task = cls.__new__(cls)
        task._set("table", array.copy(), max(len(array), int(array.max()) + 1))
        return task

    def _set(self, name: str, table: IntArray, n_classes: int) -> None:
        self.operation = name
        self.table = table
        self.modulus = len(table)
        self.n_classes = n_classes
        self.pairs = np.argwhere(table >= 0).astype(np.int64)
        self.labels = table[table >= 0]

    def __repr__(self) -> str:
        return f"ModularTask({self.operation!r}, modulus={self.modulus})"

    def with_random_labels(self, seed: int = 0) -> ModularTask:
        """Return a task on the same pairs with their labels shuffled: nothing to generalise.

        Every label stays as frequent as it is.
        """
        rng = np.random.default_rng(check_integer("seed", seed, minimum=0))
        task = ModularTask.__new__(ModularTask)
        table = self.table.copy()
        table[table >= 0] = rng.permutation(self.labels)
        task._set(self.operation + SHUFFLED, table, self.n_classes)
        task._formula = self._formula
        return task

    def symmetric_split(
        self,
        train_fraction: float | None = 0.5,
        seed: int = 0,
        *,
        reflection: str | int | Reflection = "swap",
        moved_back: int = 0,
        moved_out: int = 0,
    ) -> Split:
        """Split along the orbits of a reflection, its fixed points held out.

        A pair and its mirror image are both training pairs or both test pairs; the fixed points
        are test pairs, but for `moved_back` of them. What is learnt about a pair then says the same
        about its mirror image, and a Recursive Feature Machine on x + y stays at chance. Pairs
        moved out break the symmetry (Tomàs Bernal et al. 2026, arXiv 2604.00316).

        Parameters
        ----------
        train_fraction : float in (0, 1), optional
            ⌊train_fraction · N⌋ training pairs, or one less, besides those moved back and before
            others are moved out. None: all but the fixed points.
        seed : int
            The same seed gives the same split.
        reflection : {"swap", "negate"}, int or callable
            (a, b) ↦ (b, a), (−a, −b); k: the reflection s rᵏ of the dihedral group,
            (a, b) ↦ (b − k, a + k) modulo p, for operations that it leaves alone as it does x + y
            (`grokrfm.features.reflection_matrix`); or a function of two integer arrays that
            returns two.
        moved_back : int
            How many fixed points are training pairs.
        moved_out : int
            How many training pairs, drawn at random, are test pairs instead.

        Raises
        ------
        TypeError, ValueError
            For a map that is not its own inverse on the defined pairs, an s rᵏ that changes labels,
            more training pairs than there are orbits for, none left, and bad numbers.
        """
        mirror = self._mirror(reflection)
        own = np.arange(len(mirror))
        fixed, first = np.flatnonzero(mirror == own), np.flatnonzero(own < mirror)
        orbits = len(first)
        if train_fraction is not None:
            orbits = count_of_fraction(train_fraction, len(own)) // 2
        if not 1 <= orbits <= len(first):
            raise ValueError(
                f"train_fraction: expected a share that takes 1 to {len(first)} pairs of mirror "
                f"images, got {train_fraction}"
            )
        check_integer("moved_back", moved_back, minimum=0, maximum=len(fixed))
        rng = np.random.default_rng(check_integer("seed", seed, minimum=0))
        chosen = rng.permutation(first)[:orbits]
        back = rng.permutation(fixed)[:moved_back]
        train = np.concatenate([chosen, mirror[chosen], back])
        check_integer("moved_out", moved_out, minimum=0, maximum=len(train) - 1)
        if moved_out:
            train = rng.permutation(train)[moved_out:]
        test = np.setdiff1d(own, train)
        noisy = np.zeros(len(train), dtype=bool)
        return self._split(train, test, self.labels[train], noisy)

    def _mirror(self, reflection: str | int | Reflection) -> IntArray:
        """Number of each pair's mirror image, (N,)."""
        p = self.modulus
        if isinstance(reflection, str):
            check_one_of("reflection", reflection, REFLECTIONS)
        if callable(reflection):
            images = np.stack(reflection(*self.pairs.T), axis=-1) % p
        elif isinstance(reflection, str):
            images = np.stack(REFLECTIONS[reflection](*self.pairs.T), axis=-1) % p
        else:
            images = reflect(self.pairs, p, check_integer("reflection", reflection))
            if (self.table[tuple(images.T)] != self.labels).any():
                raise ValueError(
                    f"reflection: expected one that leaves the labels alone, as s r^k does those "
                    f"of x+y, got {reflection} for {self.operation}"
                )
        if images.shape != self.pairs.shape or images.dtype.kind != "i":
            raise TypeError("reflection: expected a function that returns two integer arrays")
        number = np.full((p, p), -1)
        number[tuple(self.pairs.T)] = np.arange(len(self.pairs))
        mirror: IntArray = number[tuple(images.T)]
        if (mirror < 0).any() or (mirror[mirror] != np.arange(len(mirror))).any():
            raise ValueError(
                "reflection: expected a map that is its own inverse on the pairs of the task"
            )
        return mirror


def _tabulate(operation: Callable[[int, int], Any], modulus: int) -> IntArray:
    table = np.full((modulus, modulus), -1, dtype=np.int64)
    for x in range(modulus):
        for y in range(modulus):
            label = operation(x, y)
            if label is None:
                continue
            if not isinstance(label, (int, np.integer)):
                raise TypeError(
                    "operation: expected a function that returns an integer or None, "
                    f"got {label!r} for ({x}, {y})"
                )
            table[x, y] = int(label) % modulus
    if (table < 0).all():
        raise ValueError("operation: expected at least one pair where it is defined")
    return table
