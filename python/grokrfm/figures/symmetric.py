"""Training sets that a reflection leaves alone, and machines that know one (arXiv 2604.00316)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..analysis import feature_correlation, features
from ..experiments import OrbitRun, RFMRun
from .panels import new_axes, panel, plot_band, plot_feature_matrix
from .registry import Figure, Numbers, Results, Series, Settings

K = 3  # of the reflection s rᵏ: any will do, and this one is not the diagonal of a block
ITERATIONS = 30
KERNELS = {"gaussian": "Gaussian", "quadratic": "quadratic"}
COLOURS = {"gaussian": "C0", "quadratic": "C1"}
STARTS = ("I+R", "I-R", "random projection")


def _series(settings: Settings) -> Series:
    counts = (0, 1, 2, 5) if settings.quick else (0, 1, 2, 3, 5, 10, 20)
    fractions = (0.5,) if settings.quick else (0.5, 0.7)
    moduli = {"gaussian": (29,) if settings.quick else (29, 61), "quadratic": (29,)}
    split = {
        f"split; {kernel}; {p}; {count}": [
            RFMRun(
                modulus=p,
                train_fraction=1 - 1 / p,
                reflection=K,
                moved_out=count,
                seed=seed,
                kernel=kernel,
                dtype="float64",
                iterations=ITERATIONS,
                keep=(ITERATIONS,),
            )
            for seed in settings.seeds
        ]
        for kernel in KERNELS
        for p in moduli[kernel]
        for count in counts
    }
    orbits = {
        f"orbit; {kernel}; {start}; {fraction}": [
            OrbitRun(
                modulus=29,
                train_fraction=fraction,
                seed=seed,
                kernel=kernel,
                dtype="float64",
                iterations=ITERATIONS,
                ridge=1e-6,
                k=K,
                start=start,
            )
            for seed in settings.seeds
        ]
        for kernel in KERNELS
        for start in STARTS
        for fraction in fractions
    }
    return {**split, **orbits}


def _collect(series: Series, results: Results) -> Numbers:
    """Final accuracies and correlations of M with R; recall and precision; one M."""
    last = f"matrix_{ITERATIONS}"
    split = {label: runs for label, runs in series.items() if label.startswith("split; ")}
    orbits = {label: runs for label, runs in series.items() if label not in split}
    shown = results[split["split; gaussian; 29; 1"][0]][last]

    def correlation(M: Any) -> float:
        return feature_correlation(M, features.reflection_matrix(len(M) // 2, K), diagonal=False)

    return {
        "labels": np.array(list(split)),
        "test_accuracy": np.array(
            [[results[run]["test_accuracy"][-1] for run in runs] for runs in split.values()]
        ),
        "correlation": np.array(
            [[correlation(results[run][last]) for run in runs] for runs in split.values()]
        ),
        "matrix": shown,
        "orbit_labels": np.array(list(orbits)),
        **{
            name: np.array([[results[run][name] for run in runs] for runs in orbits.values()])
            for name in ("orbit_recall", "orbit_precision", "other_recall", "other_precision")
        },
        "orbit_accuracy": np.array(
            [[results[run]["test_accuracy"][-1] for run in runs] for runs in orbits.values()]
        ),
    }


def plot_symmetric(data: Numbers, axes: Any = None) -> Any:
    """Accuracy over the pairs moved out, M beside the reflection, the orbit law; (2, 2) Axes."""
    axes = new_axes(2, 2, width=5, height=3.9) if axes is None else axes
    _plot_moved(data, axes[0][0])
    _plot_orbits(data, axes[0][1])
    M = data["matrix"]
    R = features.reflection_matrix(len(M) // 2, K)
    plot_feature_matrix(M, ax=axes[1][0])
    axes[1][0].set_title(
        f"$M$, one pair moved out; correlation {feature_correlation(M, R, diagonal=False):.2f}",
        fontsize="medium",
    )
    plot_feature_matrix(R, ax=axes[1][1])
    axes[1][1].set_title(f"the reflection $s r^{K}$", fontsize="medium")
    return axes


def _plot_moved(data: Numbers, ax: Any) -> None:
    keys = [str(label).split("; ") for label in data["labels"]]
    for kernel, p in dict.fromkeys((key[1], key[2]) for key in keys):
        rows = [i for i, key in enumerate(keys) if key[1:3] == [kernel, p]]
        counts = [int(keys[i][3]) for i in rows]
        style = {"color": COLOURS[kernel], "linestyle": "-" if p == "29" else "--"}
        label = f"{KERNELS[kernel]}, $p$ = {p}"
        curves = 100 * data["test_accuracy"][rows].T
        plot_band(counts, curves, ax, marker="o", markersize=3, label=label, **style)
    panel(ax, "test accuracy (%)", "training pairs moved to the test set", percent=True)
    ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(left=-0.2)
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.set_xticks([], minor=True)
    ax.set_title("trained on all but the fixed points", fontsize="medium")
    ax.legend(frameon=False, fontsize="x-small", handlelength=1.2, loc="upper left")


def _plot_orbits(data: Numbers, ax: Any) -> None:
    """A row for each kernel and M_0: recall (filled) and precision (open) of both reflections."""
    keys = [str(label).split("; ") for label in data["orbit_labels"]]
    groups = list(dict.fromkeys((key[1], key[2]) for key in keys))
    for prefix, colour, title in (("orbit", "C2", "its own"), ("other", "0.6", "another")):
        for measure, face in (("recall", colour), ("precision", "none")):
            points = [
                (value, y)
                for i, key in enumerate(keys)
                for value in 100 * data[f"{prefix}_{measure}"][i]
                for y in [groups.index((key[1], key[2])) + (0.12 if prefix == "other" else -0.12)]
            ]
            x, y = np.transpose(points)
            label = f"{title} reflection, {measure}"
            ax.plot(x, y, "o", color=colour, markerfacecolor=face, alpha=0.8, label=label)
    signs = {"I+R": "$I + R$", "I-R": "$I − R$", "random projection": "random"}
    names = [f"{KERNELS[kernel]}, {signs[start]}" for kernel, start in groups]
    ax.set_yticks(range(len(groups)), names, fontsize="small")
    ax.set(xlabel="recall, precision of the orbit (%)", xlim=(-4, 104))
    ax.set_ylim(len(groups) + 1.8, -0.5)  # room for the legend
    ax.set_title("kernel and $M_0$: right on the orbit of $R$", fontsize="medium")
    ax.legend(frameon=False, fontsize="x-small", loc="lower center")


FIGURES = (
    Figure(
        "symmetric",
        "x + y: training sets that a reflection leaves alone",
        _series,
        _collect,
        plot_symmetric,
    ),
)
