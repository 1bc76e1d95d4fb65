"""Label noise over the training fraction, without and with a ridge."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..experiments import RFMRun
from ..operations import kernel_diagonal
from .panels import new_axes
from .registry import Figure, Numbers, Results, Series, Settings

NOISES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
FRACTIONS = (0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8)
RIDGES = (0.0, 1.0)
ROUNDS = 40
KEPT = (0, 2, 4, 6, 8, 10, 15, 20, 30, 40)


def _series(settings: Settings) -> Series:
    noises, fractions = (NOISES[::3], FRACTIONS[1::2]) if settings.quick else (NOISES, FRACTIONS)
    return {
        f"{ridge:g}; {noise:g}; {fraction:g}": [
            RFMRun(
                iterations=ROUNDS, train_fraction=fraction, label_noise=noise, ridge=ridge,
                seed=seed, keep=KEPT if noise == 0 else (),
            )
            for seed in settings.seeds
        ]
        for ridge in RIDGES
        for noise in noises
        for fraction in fractions
    }  # fmt: skip


def _scale(M: Any) -> float:
    """Median of k(x, x) = (xᵀMx)² over all pairs."""
    return float(np.median(kernel_diagonal(M.astype(np.float64), (1.0, 0.0, 0.0))))


def _collect(series: Series, results: Results) -> Numbers:
    """Accuracies in the end (labels, seeds); median k(x, x) without noise (labels, seeds, t)."""
    clean = {label: runs for label, runs in series.items() if label.split("; ")[1] == "0"}
    return {
        "labels": np.array(list(series)),
        "test_accuracy": np.array(
            [[results[run]["test_accuracy"][-1] for run in runs] for runs in series.values()]
        ),
        "clean": np.array(list(clean)),
        "kept": np.array(KEPT),
        "kernel_diagonal": np.array(
            [
                [[_scale(results[run][f"matrix_{t}"]) for t in KEPT] for run in runs]
                for runs in clean.values()
            ]
        ),
    }


def plot_noise(data: Numbers, axes: Any = None) -> Any:
    """Maps of the accuracy without and with ridge, and the kernel's scale; three Axes."""
    axes = new_axes(3, width=4.6, height=3.6) if axes is None else axes
    keys = np.array([str(label).split("; ") for label in data["labels"]], dtype=float)
    noises, fractions = np.unique(keys[:, 1]), np.unique(keys[:, 2])
    for ax, ridge in zip(axes, RIDGES, strict=False):
        cells = data["test_accuracy"].mean(axis=1)[keys[:, 0] == ridge]
        image = ax.imshow(
            100 * cells.reshape(len(noises), len(fractions)), origin="lower", aspect="auto",
            vmin=0, vmax=100,
        )  # fmt: skip
        ax.set_xticks(range(len(fractions)), [f"{100 * r:g}" for r in fractions])
        ax.set_yticks(range(len(noises)), [f"{100 * noise:g}" for noise in noises])
        ax.set(xlabel="training fraction (%)", ylabel="training labels replaced (%)")
        ax.set_title("no ridge" if ridge == 0 else f"ridge {ridge:g}")
        ax.figure.colorbar(image, ax=ax, label="test accuracy (%)")
    for label, curves in zip(data["clean"], data["kernel_diagonal"], strict=True):
        ridge, _, fraction = map(float, str(label).split("; "))
        # What has vanished entirely is drawn at the bottom.
        axes[2].semilogy(
            data["kept"], np.maximum(curves.T, 1e-40), ":" if ridge == 0 else "-",
            color=f"C{int(np.flatnonzero(fractions == fraction)[0])}", linewidth=1,
        )  # fmt: skip
    for i, fraction in enumerate(fractions):
        axes[2].plot([], [], color=f"C{i}", label=f"{100 * fraction:g} %")
    axes[2].set(xlabel="iteration", ylabel="median $k(x, x)$, no noise", ylim=(1e-12, 1e2))
    axes[2].set_title("ridge 1 (lines) and none (dots)")
    axes[2].legend(frameon=False, fontsize=7, loc="lower left")
    return axes


FIGURES = (
    Figure(
        "noise",
        "x + y mod 61 with label noise: without a ridge, and with one that kills small features",
        _series,
        _collect,
        plot_noise,
    ),
)
