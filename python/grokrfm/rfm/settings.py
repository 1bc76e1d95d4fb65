"""The parameters of the estimator, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..operations import Kernel
from ..tasks import PairData
from ..training import fingerprint
from .sampling import Sampling


@dataclass(frozen=True)
class Settings:
    """The parameters of `RFMClassifier`, checked, as what they stand for.

    `parameters` are themselves, as plain Python values.
    """

    parameters: Mapping[str, Any]
    modulus: int
    n_tasks: int
    backend: str
    solver: str
    kernel: Kernel
    n_classes: int
    iterations: int
    agop_power: float
    ridge: float
    centred: bool
    fact: bool  # whether |F M| takes the place of the AGOP
    tolerance: float
    dtype: np.dtype[Any]
    sampling: Sampling | None
    keep_every: int | None  # rounds from a kept feature matrix to the next; None: only the last

    @property
    def matrices_held(self) -> int:
        """How many feature matrices a run has in memory at a time, at most."""
        kept = 0 if self.keep_every is None else self.iterations // self.keep_every + 1
        # One that is not kept goes when the next round is complete.
        return min(kept + 2, self.iterations + 1)

    @property
    def few_columns(self) -> bool:
        """Whether rounds solve for drawn classes and pairs alone."""
        return self.sampling is not None and self.sampling.few_columns

    def fingerprint(self, data: PairData) -> str:
        """What checkpoints of a run belong to; it may go on for more iterations."""
        # Its matrices tell the modulus, it names its solver, and goes on with another backend.
        # Which matrices are kept changes nothing in the rounds to come.
        names = ("n_classes", "agop_power", "ridge", "centred", "tolerance", "dtype")
        given = {"kernel": asdict(self.kernel), **{name: getattr(self, name) for name in names}}
        if self.fact:  # checkpoints without it stay what they were
            given["fact"] = True
        given["sampling"] = self.sampling and asdict(self.sampling)
        return fingerprint(data, given)
