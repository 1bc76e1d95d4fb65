"""What training on does near the threshold: to the network, and to RFM."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..experiments import Experiment, NetworkRun, RFMRun
from .panels import new_axes, panel, plot_band
from .registry import Figure, Numbers, Results, Series, Settings

MODULUS = 43
FRACTIONS = {
    "network": (0.16, 0.18, 0.2, 0.22, 0.24, 0.26, 0.28, 0.32, 0.36),
    "RFM": (0.3, 0.34, 0.36, 0.38, 0.4, 0.42, 0.44, 0.48, 0.52),
}
LENGTHS = {"network": 3200, "RFM": 240}
HALVINGS = 4  # each length is drawn, and what was reached after halves of it
UNITS = {"network": "epochs", "RFM": "iterations"}


def _series(settings: Settings) -> Series:
    lengths = {kind: length // (8 if settings.quick else 1) for kind, length in LENGTHS.items()}

    def runs(kind: str, fraction: float, shuffled: bool = False) -> list[Experiment]:
        given: dict[str, Any] = {
            "modulus": MODULUS,
            "train_fraction": fraction,
            "random_labels": shuffled,
        }
        if kind == "network":
            return [NetworkRun(epochs=lengths[kind], seed=s, **given) for s in settings.seeds]
        return [
            RFMRun(iterations=lengths[kind], keep_features="last", seed=s, **given)
            for s in settings.seeds
        ]

    series: dict[str, list[Experiment]] = {}
    for kind, fractions in FRACTIONS.items():
        drawn = fractions[::4] if settings.quick else fractions
        for fraction in drawn:
            series[f"{kind}; {fraction}"] = runs(kind, fraction)
        series[f"{kind}; {drawn[-1]}; shuffled"] = runs(kind, drawn[-1], shuffled=True)
    return series


def _collect(series: Series, results: Results) -> Numbers:
    """Of each kind fractions (k,), lengths of training (s,), and test accuracies.

    Those are (k, seeds, s), and with shuffled labels, from the largest fraction, (1, seeds, s).
    """
    numbers = {}
    for kind in LENGTHS:
        of_kind = {label: runs for label, runs in series.items() if label.startswith(kind)}
        curves = np.array(
            [[results[run]["test_accuracy"] for run in runs] for runs in of_kind.values()]
        )
        stages = [(curves.shape[-1] - 1) >> k for k in range(HALVINGS, -1, -1)]
        numbers[f"{kind}: fractions"] = np.array(
            [float(label.split("; ")[1]) for label in of_kind][:-1]
        )
        numbers[f"{kind}: stages"] = np.array(stages)
        numbers[f"{kind}: test accuracy"] = curves[:-1, :, stages]
        numbers[f"{kind}: shuffled labels"] = curves[-1:, :, stages]
    return numbers


def plot_longer(data: Numbers, axes: Any = None) -> Any:
    """Accuracy over the fraction after several lengths of training; two Axes."""
    axes = new_axes(2, width=5.0, height=3.6) if axes is None else axes
    for ax, (kind, unit) in zip(axes, UNITS.items(), strict=True):
        x, accuracies = 100 * data[f"{kind}: fractions"], 100 * data[f"{kind}: test accuracy"]
        for i, t in enumerate(data[f"{kind}: stages"]):
            style = {"color": f"C{i}", "marker": "o", "markersize": 3, "label": f"{t} {unit}"}
            plot_band(x, accuracies[..., i].T, ax, **style)
        controls = 100 * data[f"{kind}: shuffled labels"][0, :, -1]
        ax.plot([x[-1]] * len(controls), controls, "kx", label="shuffled labels")
        panel(ax, f"{kind}: test accuracy (%)", "training fraction (%)", percent=True)
        ax.legend(frameon=False, fontsize=8)
    return axes


FIGURES = (
    Figure(
        "longer",
        f"x + y mod {MODULUS}: the longer a network trains the fewer pairs it needs; RFM rests",
        _series,
        _collect,
        plot_longer,
    ),
)
