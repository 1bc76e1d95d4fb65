"""What generalisation is not due to: the kernel, the spectrum of M, the labels' frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..experiments import Result, RFMRun
from ..rfm import RFMClassifier
from .panels import new_axes, panel, plot_band
from .registry import Figure, Numbers, Results, Series, Settings

FRACTIONS = (0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
KERNELS = {"quadratic": "quadratic", "Gaussian": "gaussian"}


@dataclass(frozen=True, kw_only=True)
class RotatedRun(RFMRun):
    """A run whose last feature matrix is evaluated with random eigenvectors, too.

    Its result has, besides, rotated_test_accuracy (1,): that of Q M Qᵀ with an orthogonal Q drawn
    by the run's seed, of the spectrum of M.
    """

    def _result(self, model: RFMClassifier) -> Result:
        M = model.feature_matrix_.astype(np.float64)
        drawn = np.random.default_rng(self.seed).standard_normal(M.shape)
        Q, R = np.linalg.qr(drawn)
        Q *= np.sign(np.diag(R))  # uniform over the orthogonal matrices
        rotated = Q @ M @ Q.T
        control = RFMClassifier(**{**model.get_params(), "iterations": 0})
        control.fit(self.split(), feature_matrix=(rotated + rotated.T) / 2)
        return {
            **super()._result(model),
            "rotated_test_accuracy": control.history_["test_accuracy"],
        }


def _series(settings: Settings) -> Series:
    fractions = FRACTIONS[1::2] if settings.quick else FRACTIONS
    return {
        f"{name}; {way}; {fraction}": [
            RotatedRun(train_fraction=fraction, random_labels=shuffled, seed=seed, kernel=kernel)
            for seed in settings.seeds
        ]
        for name, kernel in KERNELS.items()
        for way, shuffled in (("as they are", False), ("shuffled", True))
        for fraction in fractions
    }


def _collect(series: Series, results: Results) -> Numbers:
    """Accuracies (labels, seeds, 3): of the plain kernel, the learnt M, the rotated one."""
    return {
        "labels": np.array(list(series)),
        "test_accuracy": np.array(
            [
                [
                    (
                        results[run]["test_accuracy"][0],
                        results[run]["test_accuracy"][-1],
                        results[run]["rotated_test_accuracy"][0],
                    )
                    for run in runs
                ]
                for runs in series.values()
            ]
        ),
    }


def plot_controls(data: Numbers, axes: Any = None) -> Any:
    """Accuracy over the training fraction beside its controls; an Axes for each kernel."""
    axes = new_axes(2, width=5.0, height=3.6) if axes is None else axes
    keys = [str(label).split("; ") for label in data["labels"]]
    lines = (
        ("as they are", 1, "learnt $M$", "C0"),
        ("as they are", 0, "$M$ = identity", "0.5"),
        ("as they are", 2, "spectrum of the learnt $M$, random eigenvectors", "C1"),
        ("shuffled", 1, "learnt $M$, labels shuffled", "C3"),
    )
    for ax, name in zip(axes, KERNELS, strict=True):
        for way, which, label, colour in lines:
            rows = [i for i, key in enumerate(keys) if key[:2] == [name, way]]
            x = [100 * float(keys[i][2]) for i in rows]
            curves = 100 * data["test_accuracy"][rows][:, :, which].T
            plot_band(x, curves, ax, color=colour, label=label, marker="o", markersize=3)
        panel(ax, "test accuracy (%)", "training fraction (%)", percent=True)
        ax.set_title(f"{name} kernel", fontsize=10)
    axes[0].legend(frameon=False, fontsize=7)
    return axes


FIGURES = (
    Figure(
        "controls",
        "x + y mod 61: neither the kernel, nor the spectrum of M, nor shuffled labels",
        _series,
        _collect,
        plot_controls,
    ),
)
