"""How much data generalisation takes: the critical training fraction over the modulus.

A run ends at 99 % test accuracy or after its rounds. The critical fraction of a curve accuracy(r)
is where it passes 50 %, linear between two fractions, for each seed on its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..experiments import Experiment, NetworkRun, RFMRun, first_passed
from .panels import new_axes, panel, plot_band
from .registry import Figure, Numbers, Series, Settings, last_rows

ROUNDS, EPOCHS = 60, 400
SAMPLED = ", sampled"  # of the runs with drawn classes, beside the exact ones of a kind
Thresholds = dict[str, tuple[NDArray[Any], NDArray[Any]]]  # kind -> moduli, fractions


@dataclass(frozen=True)
class Curves:
    """Accuracy over the training fraction for several moduli.

    `kind` names them in the figure, with others of the same. The fractions are `scaled` p^power: in
    these units the threshold hardly moves with p.
    """

    kind: str
    moduli: tuple[int, ...]
    scaled: tuple[float, ...] = (1.0, 1.1, 1.2, 1.25, 1.3, 1.35, 1.4, 1.45, 1.5, 1.6, 1.7, 1.8)
    power: float = -1 / 3
    given: dict[str, Any] = field(default_factory=dict)
    network: bool = False

    def fraction(self, p: int, scaled: float) -> float:
        return float(round(scaled * p**self.power, 4))

    def run(self, p: int, scaled: float, seed: int) -> Experiment:
        """Describe a run."""
        given = {"modulus": p, "seed": seed, "stop_accuracy": 0.99, **self.given}
        fraction = self.fraction(p, scaled)
        if self.network:
            return NetworkRun(train_fraction=fraction, epochs=EPOCHS, **given)
        return RFMRun(train_fraction=fraction, iterations=ROUNDS, **given)


# In units of p^(-1/3), around the threshold of moduli whose runs take long.
_BELOW, _NEAR, _ABOVE = (1.0, 1.1, 1.2), (1.3, 1.35, 1.4, 1.45), (1.5, 1.6)
_DRAWN = {"agop_classes": 32, "eval_pairs": 64, "tol": 1e-3, "keep_features": "last"}
_LARGE = {**_DRAWN, "eval_pairs": 32}
_LAPLACE = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
CURVES = (
    Curves("x+y", (23, 31, 43, 61, 83, 97)),
    Curves("x+y", (127,), (*_BELOW, *_NEAR, *_ABOVE)),
    Curves("x+y", (167, 199), _NEAR),
    Curves("x+y", (211,), (1.2, 1.3, 1.4)),
    Curves("x+y" + SAMPLED, (199,), (*_BELOW, *_NEAR[:3], *_ABOVE), given=_DRAWN),
    Curves("x+y" + SAMPLED, (211,), (1.2, 1.3, 1.4), given=_DRAWN),
    Curves("x+y" + SAMPLED, (499,), (1.15, 1.25, 1.35, 1.5, 1.65), given=_LARGE),
    Curves("x*y", (23, 31, 43, 61, 83, 97), given={"operation": "x*y"}),
    Curves("x*y" + SAMPLED, (199,), (1.2, 1.3, 1.4, 1.5), given={"operation": "x*y", **_DRAWN}),
    Curves("x+y, Gaussian", (23, 31, 43, 61), given={"kernel": "gaussian"}),
    Curves("x+y, Gaussian", (97,), (1.2, 1.3, 1.4), given={"kernel": "gaussian"}),
    Curves(
        "x+y, Gaussian" + SAMPLED,
        (199,),
        (1.2, 1.4),
        given={"kernel": "gaussian", **_LARGE},
    ),
    Curves("x+y, Laplace", (23, 31, 43), _LAPLACE, 0, {"kernel": "laplace"}),
    Curves("x+y, Laplace", (61,), (0.7, 0.8, 0.9, 0.95), 0, {"kernel": "laplace"}),
    Curves(
        "x+y, Laplace" + SAMPLED,
        (97,),
        (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
        0,
        {"kernel": "laplace", **_DRAWN},
    ),
    Curves(
        "x+y, Laplace" + SAMPLED,
        (199,),
        (0.4, 0.5),
        0,
        {"kernel": "laplace", **_LARGE, "agop_classes": 16},
    ),
    Curves(
        "x+y, network",
        (23, 31, 43, 61, 97),
        (2.0, 2.5, 3.0, 3.25, 3.5, 3.75, 4.0, 4.25, 4.5, 5.0),
        -2 / 3,
        network=True,
    ),
    # Runs that still rise after the last round: a kind of their own, on no line.
    Curves(
        "x+y, still rising",
        (997,),
        (1.25, 1.45, 1.65),
        given={**_DRAWN, "eval_pairs": 16, "tol": 1e-2},
    ),
)
_QUICK = {"x+y": {23, 43}, "x+y, network": {23}}


def _series(settings: Settings) -> Series:
    return {
        f"{curves.kind}; {p}; {curves.fraction(p, scaled)}": [
            curves.run(p, scaled, seed) for seed in settings.seeds
        ]
        for curves in CURVES
        for p in curves.moduli
        if not settings.quick or p in _QUICK.get(curves.kind, ())
        for scaled in curves.scaled
    }


def power_law(x: ArrayLike, y: ArrayLike) -> tuple[float, float, float]:
    """Least squares of log y over log x: factor and exponent of y = factor x^exponent.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positive, n ≥ 3.

    Returns
    -------
    factor, exponent, error : float
        The error is the exponent's standard error, from the scatter about the line.
    """
    coefficients, covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    return float(np.exp(coefficients[1])), float(coefficients[0]), float(covariance[0, 0] ** 0.5)


def accuracy_curves(data: Numbers) -> dict[tuple[str, int], tuple[NDArray[Any], NDArray[Any]]]:
    """Return fractions (k,) and accuracies (seeds, k) of each kind and modulus of the figure."""
    rows: dict[tuple[str, int], list[tuple[float, NDArray[Any]]]] = {}
    for label, accuracies in zip(data["labels"], data["test_accuracy"], strict=True):
        name, p, fraction = str(label).split("; ")
        rows.setdefault((name, int(p)), []).append((float(fraction), accuracies))
    return {
        key: (np.array([r for r, _ in pairs]), np.array([a for _, a in pairs]).T)
        for key, pairs in rows.items()
    }


def passed(data: Numbers, level: float) -> Thresholds:
    """Return moduli (k,) and, (seeds, k), where the curves pass an accuracy, of each kind.

    NaN where a curve does not.
    """
    found: dict[str, list[tuple[int, list[float]]]] = {}
    for (kind, p), (fractions, accuracies) in accuracy_curves(data).items():
        each = [first_passed(fractions, curve, level) for curve in accuracies]
        # A curve that begins above the level passed it before.
        inside = [r if r > fractions[0] else np.nan for r in each]
        found.setdefault(kind, []).append((p, inside))
    return {
        kind: (np.array([p for p, _ in rows]), np.array([r for _, r in rows]).T)
        for kind, rows in found.items()
    }


def plot_critical(data: Numbers, axes: Any = None) -> Any:
    """Accuracy over the fraction, its collapse, critical fractions and widths; 2 x 2 Axes.

    Means of thresholds and widths are over the seeds that have one.
    """
    from matplotlib import colormaps

    axes = new_axes(2, 2, width=5.6, height=4.0) if axes is None else axes
    found = passed(data, 0.5)
    law = _law(*_points(found, *_kinds(found)["x+y"]))
    exponent = law[1] if law else -1 / 3
    curves: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
    for (kind, p), curve in accuracy_curves(data).items():
        if kind in _kinds(found)["x+y"]:  # exact runs come first, sampled ones where there are none
            curves.setdefault(p, curve)
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(curves)))
    for i, (p, (fractions, accuracies)) in enumerate(curves.items()):
        style = {"color": colours[i], "label": f"$p$ = {p}", "marker": "o", "markersize": 3}
        plot_band(fractions, 100 * accuracies, axes[0, 0], **style)
        plot_band(fractions * p**-exponent, 100 * accuracies, axes[0, 1], **style)
    panel(axes[0, 0], "final test accuracy (%)", "training fraction $r$", percent=True)
    panel(axes[0, 1], "final test accuracy (%)", f"$r\\,p^{{{-exponent:.3f}}}$", percent=True)
    axes[0, 0].legend(frameon=False, fontsize=8)
    _plot_thresholds(data, axes[1, 0])
    _plot_widths(data, axes[1, 1])
    return axes


def _points(found: Thresholds, *kinds: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Moduli and thresholds of some kinds, of every seed that has one."""
    each = [(np.broadcast_to(p, r.shape), r) for p, r in (found[kind] for kind in kinds)]
    p, r = (np.concatenate([np.ravel(part[i]) for part in each]) for i in (0, 1))
    return p[np.isfinite(r)], r[np.isfinite(r)]


def _means(p: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Moduli and means, (k,), of values (seeds, moduli): over the seeds that have one.

    Moduli where none has are left out.
    """
    known = np.isfinite(values).any(axis=0)
    return p[known], np.nanmean(values[:, known], axis=0)


def _law(p: NDArray[Any], r: NDArray[Any]) -> tuple[float, float, float] | None:
    """The power law of thresholds; none of fewer than four moduli."""
    return power_law(p, r) if len(set(p)) > 3 else None


def _kinds(found: Thresholds) -> dict[str, list[str]]:
    """Of each kind itself and, if there is one, that of its sampled runs."""
    return {
        kind: [name for name in (kind, kind + SAMPLED) if name in found]
        for kind in found
        if not kind.endswith(SAMPLED)
    }


def _plot_thresholds(data: Numbers, ax: Any) -> None:
    everywhere = passed(data, 0.5)
    for i, (kind, names) in enumerate(_kinds(everywhere).items()):
        p, r = _points(everywhere, *names)
        label = kind
        if fitted := _law(p, r):
            factor, exponent, error = fitted
            label = f"{kind}: $p^{{{exponent:.3f}\\pm{error:.3f}}}$"
            line = np.array([p.min(), p.max()])
            ax.plot(line, factor * line**exponent, color=f"C{i}", linewidth=1)
        ax.plot(*_points(everywhere, kind), "o", color=f"C{i}", markersize=3, label=label)
        for name in names[1:]:
            ax.plot(*_points(everywhere, name), "o", color=f"C{i}", mfc="none", markersize=5)
    p, r = _means(*everywhere["x+y"])
    if len(p):
        _plot_guides(p[0], r[0], max(moduli.max() for moduli, _ in everywhere.values()), ax)
    ax.set(xscale="log", yscale="log", xlabel="$p$", ylabel="critical training fraction")
    _tick_moduli(everywhere, ax)
    ax.set_yticks(
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9),
        ("10 %", "20 %", "30 %", "40 %", "50 %", "70 %", "90 %"),
    )
    ax.legend(frameon=False, fontsize=7, loc="lower left")


def _plot_guides(p: int, r: float, largest: int, ax: Any) -> None:
    """Draw laws that agree at a modulus and its threshold."""
    wide = np.geomspace(p, 2 * largest)
    for law, label in (
        (np.ones_like(wide), "constant fraction"),
        ((wide / p) ** (-1 / 3), "$n \\propto p^{5/3}$"),
        (np.log(wide) / wide / (np.log(p) / p), "$n \\propto p \\log p$"),
    ):
        ax.plot(wide, r * law, "--", color="0.6", linewidth=0.8)
        ax.annotate(label, (wide[-1], r * law[-1]), fontsize=7, ha="right", va="bottom")


def _plot_widths(data: Numbers, ax: Any) -> None:
    """Draw means of (r at 90 % − r at 10 %) / r at 50 %."""
    low, middle, high = (passed(data, level) for level in (0.1, 0.5, 0.9))
    widths = {kind: (p, (high[kind][1] - low[kind][1]) / r) for kind, (p, r) in middle.items()}
    shown = []
    for i, (kind, names) in enumerate(_kinds(widths).items()):
        p, width = _means(*widths[kind])
        lines = ax.plot(p, width, "o-", color=f"C{i}", markersize=3, label=kind)
        if len(p):
            shown += lines
        for name in names[1:]:
            ax.plot(*_means(*widths[name]), "o", color=f"C{i}", mfc="none", markersize=5)
    ax.set(xscale="log", xlabel="$p$", ylabel="width from 10 % to 90 % over $r_c$")
    ax.set_ylim(bottom=0)
    _tick_moduli(middle, ax)
    ax.legend(handles=shown, frameon=False, fontsize=7)


def _tick_moduli(found: Thresholds, ax: Any) -> None:
    ticks: list[int] = []
    for p in sorted({int(p) for moduli, _ in found.values() for p in moduli}):
        if not ticks or p > 1.15 * ticks[-1]:  # room for the number
            ticks.append(p)
    ax.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=7)
    ax.minorticks_off()


FIGURES = (
    Figure(
        "critical",
        "How much data: the critical training fraction over the modulus",
        _series,
        last_rows("test_accuracy"),
        plot_critical,
    ),
)
