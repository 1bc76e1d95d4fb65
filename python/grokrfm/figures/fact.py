"""The Features at Convergence Theorem in place of the AGOP (arXiv 2507.05644)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..experiments import NetworkRun, RFMRun
from .panels import new_axes, panel, plot_band
from .registry import Figure, Numbers, Results, Series, Settings

UPDATES = {
    "agop": ("C0", "AGOP"),
    "fact": ("C3", "FACT"),
    "fact, shuffled": ("0.6", "FACT, labels shuffled"),
}


def _series(settings: Settings) -> Series:
    p, fraction = (31, 0.7) if settings.quick else (61, 0.5)
    rfm = {
        name: [
            RFMRun(
                modulus=p,
                train_fraction=fraction,
                seed=seed,
                iterations=75,
                feature_update=name.split(",")[0],
                random_labels="shuffled" in name,
                measure_fact=True,
            )
            for seed in settings.seeds
        ]
        for name in UPDATES
    }
    epochs = 30 if settings.quick else 100
    network = [
        NetworkRun(epochs=epochs, seed=seed, measure=True, measure_fact=True)
        for seed in settings.seeds
    ]
    return {**rfm, "network": network}


def _collect(series: Series, results: Results) -> Numbers:
    def stacked(label: str, column: str) -> Any:
        return np.array([results[run][column] for run in series[label]])

    numbers = {"labels": np.array(list(UPDATES))}
    for column in ("test_accuracy", "fact_correlation", "agop_correlation"):
        numbers[column] = np.array([stacked(name, column) for name in UPDATES])
    for column in ("test_accuracy", "nfm_fact_correlation", "nfm_correlation_off_diagonal"):
        numbers[f"network_{column}"] = stacked("network", column)
    return numbers


def plot_fact(data: Numbers, axes: Any = None) -> Any:
    """Accuracy with either update, what M and the NFM of a network agree with; three Axes."""
    axes = new_axes(3, width=4.3, height=3.4) if axes is None else axes
    rounds = np.arange(data["test_accuracy"].shape[-1])
    for i, name in enumerate(data["labels"]):
        colour, label = UPDATES[str(name)]
        plot_band(rounds, 100 * data["test_accuracy"][i], axes[0], color=colour, label=label)
        if "shuffled" in name:
            continue
        for column, linestyle, other in (("fact", "-", "$F$"), ("agop", "--", "√AGOP")):
            style = {"color": colour, "linestyle": linestyle, "label": f"{label}: $M$ and {other}"}
            # M_0 = I has nothing off the diagonal.
            plot_band(rounds[1:], data[f"{column}_correlation"][i][:, 1:], axes[1], **style)
    epochs = np.arange(data["network_test_accuracy"].shape[-1])
    for column, colour, linestyle, label in (
        ("nfm_fact_correlation", "C2", "-", "NFM and FACT"),
        ("nfm_correlation_off_diagonal", "C2", "--", "NFM and √AGOP"),
        ("test_accuracy", "0.6", "-", "test accuracy"),
    ):
        curves = data[f"network_{column}"]
        plot_band(epochs, curves, axes[2], color=colour, linestyle=linestyle, label=label)
    panel(axes[0], "test accuracy (%)", percent=True)
    axes[1].set(xlabel="iteration", ylabel="correlation off the diagonal", ylim=(0.9, 1.003))
    axes[2].set(xlabel="epoch", ylabel="correlation off the diagonal", ylim=(-0.2, 1.03))
    for ax, title in zip(axes, ("RFM by its update", "RFM by its update", "network"), strict=True):
        ax.set_title(title, fontsize="medium")
        ax.legend(frameon=False, fontsize="small", loc="lower right")
    for ax in (axes[0], axes[2]):
        ax.legend(frameon=False, fontsize="small", loc="center right")
    return axes


FIGURES = (
    Figure(
        "fact",
        "x + y: the matrix of the Features at Convergence Theorem (FACT) beside the AGOP",
        _series,
        _collect,
        plot_fact,
    ),
)
