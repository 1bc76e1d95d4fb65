"""Below the critical fraction: where runs come to rest between memory and generalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..experiments import RFMRun
from .panels import new_axes, panel
from .registry import Figure, Numbers, Results, Series, Settings

FRACTIONS = (0.3, 0.32, 0.33, 0.34, 0.35, 0.36, 0.37, 0.38, 0.4)
COMPARED = 0.34  # the fraction at which the variants are run
ROUNDS = 200
VARIANTS: dict[str, dict[str, Any]] = {
    "float64, tol 1e-8": {"dtype": "float64", "tol": 1e-8},
    "not centred": {"centering": "none"},
    "32 classes drawn": {"agop_classes": 32, "eval_pairs": 1024, "tol": 1e-3},
    "Gaussian kernel": {"kernel": "gaussian"},
    "x · y": {"operation": "x*y"},
    "shuffled labels": {"random_labels": True},
}


def _series(settings: Settings) -> Series:
    rounds = 60 if settings.quick else ROUNDS
    seeds = range(settings.n_seeds * (1 if settings.quick else 3))

    def runs(fraction: float, **given: Any) -> list[RFMRun]:
        return [
            RFMRun(iterations=rounds, train_fraction=fraction, seed=seed, **given) for seed in seeds
        ]

    plain = {f"x + y; {fraction}": runs(fraction) for fraction in FRACTIONS}
    variants = {} if settings.quick else VARIANTS
    return plain | {
        f"{name}; {COMPARED}": runs(COMPARED, **given) for name, given in variants.items()
    }


def _collect(series: Series, results: Results) -> Numbers:
    """Accuracy curves and circulant deviations in the end, (labels, seeds, …)."""
    every = [[results[run] for run in runs] for runs in series.values()]
    return {
        "labels": np.array(list(series)),
        "test_accuracy": np.array([[r["test_accuracy"] for r in rows] for rows in every]),
        "circulant_deviation": np.array(
            [[r["circulant_deviation"][-1] for r in rows] for rows in every]
        ),
    }


def plot_plateau(data: Numbers, axes: Any = None) -> Any:
    """Accuracy at the end and over rounds, its features, and what it depends on; 2 x 2 Axes."""
    axes = new_axes(2, 2, width=5.2, height=3.6) if axes is None else axes
    names, fractions = zip(*(str(label).split("; ") for label in data["labels"]), strict=True)
    plain = np.array([name == "x + y" for name in names])
    x, curves = np.array(fractions, dtype=float), 100 * data["test_accuracy"]
    last = curves.shape[-1] - 1
    for t, colour in {60: "0.6", last: "C0"}.items():
        for seed, values in enumerate(curves[plain, :, t].T):
            label = f"after {t} rounds" if seed == 0 else None
            axes[0, 0].plot(100 * x[plain], values, "o", color=colour, markersize=3, label=label)
    panel(axes[0, 0], "test accuracy (%)", "training fraction (%)", percent=True)
    axes[0, 0].legend(frameon=False)
    for i, row in enumerate(np.flatnonzero(plain)):
        for seed, curve in enumerate(curves[row]):
            label = f"{100 * x[row]:g} %" if seed == 0 else None
            axes[0, 1].plot(curve, color=f"C{i}", linewidth=0.7, label=label)
    panel(axes[0, 1], "test accuracy (%)", percent=True)
    axes[0, 1].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    ends = curves[plain, :, last]
    for i, (accuracies, deviations) in enumerate(
        zip(ends, data["circulant_deviation"][plain], strict=True)
    ):
        axes[1, 0].plot(accuracies, deviations, "o", color=f"C{i}", markersize=3)
    panel(axes[1, 0], "circulant deviation in the end", "test accuracy in the end (%)")
    compared = [i for i, r in enumerate(x) if r == COMPARED]
    for at, i in enumerate(compared):
        axes[1, 1].plot(np.full(curves.shape[1], at), curves[i, :, last], "o", markersize=3)
    axes[1, 1].set_xticks(
        range(len(compared)), [names[i] for i in compared], rotation=20, ha="right", fontsize=8
    )
    panel(axes[1, 1], "test accuracy in the end (%)", f"at {100 * COMPARED:g} %", percent=True)
    return axes


FIGURES = (
    Figure(
        "plateau",
        "x + y mod 61 below the critical fraction: runs come to rest in between",
        _series,
        _collect,
        plot_plateau,
    ),
)
