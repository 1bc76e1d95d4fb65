"""What is learnt of a group that is not abelian: its largest abelian quotient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..analysis import groups as representations
from ..experiments import Result, RFMRun
from ..tasks import groups
from .groups import table_of
from .panels import new_axes, panel, plot_band
from .registry import Figure, Series, Settings, last_rows

# Abelian first; then by the order of the commutator subgroup.
NAMES = ("Z60", "Q8 × Z7", "S3 × Z10", "A4 × Z5", "Heisenberg mod 5", "D30", "S5")
FRACTIONS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FEW = FRACTIONS[1::2]  # for groups of a hundred elements and more


@dataclass(frozen=True, kw_only=True)
class CosetRun(RFMRun):
    """A run on a group whose result says also what of the abelianisation is learnt.

    coset_accuracy: share of the test pairs whose predicted product is in the right coset of the
    commutator subgroup; control_accuracy: the same for random classes of the same sizes. line_share
    and coset_share: of the energy of M's cross block about its mean what is a function of a b⁻¹,
    and of the coset of a b⁻¹. Each (1,), of the end.
    """

    def _result(self, model: Any) -> Result:
        table, split = np.array(self.table), self.split()
        n, cosets = len(table), groups.commutator_cosets(table)
        classes = np.random.default_rng(self.seed).permutation(cosets)
        predicted, C = model.predict(split.X_test), model.feature_matrix_[:n, n:]
        found = {
            "coset_accuracy": (cosets[predicted] == cosets[split.y_test]).mean(),
            "control_accuracy": (classes[predicted] == classes[split.y_test]).mean(),
            "line_share": representations.line_share(C, table),
            "coset_share": representations.coset_share(C, table),
        }
        return {**super()._result(model), **{name: np.array([x]) for name, x in found.items()}}


def _series(settings: Settings) -> Series:
    names = ("Z60", "S3 × Z10") if settings.quick else NAMES
    return {
        f"{name}; {fraction}": [
            CosetRun(
                table=table_of(name),
                train_fraction=fraction,
                iterations=60,
                stop_accuracy=0.99,
                seed=seed,
            )
            for seed in settings.seeds
        ]
        for name in names
        for fraction in (FEW if settings.quick or len(table_of(name)) > 100 else FRACTIONS)
    }


def plot_abelian(data: Any, axes: Any = None) -> Any:
    """Accuracy of products, and of their cosets, over the fraction; shares of C; three Axes."""
    axes = new_axes(3, width=4.6, height=3.6) if axes is None else axes
    keys = [str(label).split("; ") for label in data["labels"]]
    for i, name in enumerate(dict.fromkeys(key[0] for key in keys)):
        rows = [row for row, key in enumerate(keys) if key[0] == name]
        x = [100 * float(keys[row][1]) for row in rows]
        style = {"color": f"C{i}", "marker": "o", "markersize": 3}
        for ax, column in zip(axes, ("test_accuracy", "coset_accuracy"), strict=False):
            plot_band(x, 100 * data[column][rows].T, ax, label=name, **style)
        axes[1].plot(x, 100 * data["control_accuracy"][rows].mean(axis=1), ":", color=f"C{i}")
        plot_band(x, data["coset_share"][rows].T, axes[2], label=name, **style)
    panel(axes[0], "products right (%)", "training fraction (%)", percent=True)
    panel(axes[1], "commutator coset right (%)", "training fraction (%)", percent=True)
    axes[1].set_title("dotted: random classes of the same sizes", fontsize=9)
    panel(axes[2], "energy of $C$ constant on cosets", "training fraction (%)")
    axes[2].set_ylim(0, 1)
    axes[2].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


FIGURES = (
    Figure(
        "abelian",
        "What is learnt of a group that is not abelian: its largest abelian quotient",
        _series,
        last_rows(
            "test_accuracy", "coset_accuracy", "control_accuracy", "line_share", "coset_share"
        ),
        plot_abelian,
    ),
)
