"""Abelian and other groups of the same order: what is learnt, and from which features it could."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis import groups as representations
from ..experiments import NetworkRun, RFMRun, Table
from ..tasks import groups
from .panels import new_axes, panel, plot_band
from .registry import Figure, Numbers, Results, Series, Settings

GROUPS = {
    "Z60": lambda: groups.abelian(60),
    "Z2 × Z30": lambda: groups.abelian(2, 30),
    "D30": lambda: groups.dihedral(30),
    "A5": lambda: groups.alternating(5),
    "Z120": lambda: groups.abelian(120),
    "S5": lambda: groups.symmetric(5),
    "Q8 × Z7": lambda: groups.direct_product(groups.quaternion(), groups.abelian(7)),
    "S3 × Z10": lambda: groups.direct_product(groups.symmetric(3), groups.abelian(10)),
    "A4 × Z5": lambda: groups.direct_product(groups.alternating(4), groups.abelian(5)),
    "Heisenberg mod 5": lambda: groups.heisenberg(5),
}
COLOURS = {name: f"C{i}" for i, name in enumerate(GROUPS)}
SIXTY = ("Z60", "Z2 × Z30", "D30", "A5")
FRACTIONS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NETWORK = {"Z60": (0.2, 0.3, 0.5), "D30": (0.5, 0.7, 0.9), "A5": (0.5, 0.7, 0.9)}
WATCHED, WATCHED_FRACTION = ("Z60", "D30", "A5"), 0.9
KEPT = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 40)


@cache
def table_of(name: str) -> Table:
    """Cayley table of a group by its name."""
    return tuple(map(tuple, GROUPS[name]().tolist()))


@dataclass(frozen=True, kw_only=True)
class GroupCirculantRun(RFMRun):
    """A run from random features that are constant on lines a b⁻¹ = g of the cross block.

    For a cyclic group they are random circulant features.
    """

    iterations: int = 0

    def _prepared(self) -> tuple[Any, Any, Any, Any]:
        model, split, callbacks, _ = super()._prepared()
        table = np.array(self.table)
        n = len(table)
        values = np.random.default_rng(self.seed).standard_normal(n)
        cross = values[table[:, groups.inverses(table)]]
        cross -= cross.mean()
        cross /= np.linalg.norm(cross, 2)
        own = np.eye(n) - 1 / n
        eigenvalues, vectors = np.linalg.eigh(np.block([[own, cross], [cross.T, own]]))
        return model, split, callbacks, (vectors * np.maximum(eigenvalues, 0)) @ vectors.T


def _series(settings: Settings) -> Series:
    fractions = FRACTIONS[1::3] if settings.quick else FRACTIONS
    described: dict[str, Any] = {}  # label -> a run of seed 0

    def add(name: str, way: str, kind: type, fraction: float, **given: Any) -> None:
        described[f"{name}; {way}; {fraction:g}"] = lambda seed: kind(
            table=table_of(name), train_fraction=fraction, seed=seed, **given
        )

    for name in ("Z60", "A5") if settings.quick else SIXTY:
        for fraction in fractions:
            add(name, "RFM", RFMRun, fraction, iterations=60, stop_accuracy=0.99)
            add(name, "random", GroupCirculantRun, fraction)
    if not settings.quick:
        for name in ("Z120", "S5"):
            add(name, "RFM", RFMRun, 0.9, iterations=60, stop_accuracy=0.99)
        for name, at in NETWORK.items():
            for fraction in at:
                add(name, "network", NetworkRun, fraction, epochs=300, stop_accuracy=0.99)
        add("Z60", "shuffled", RFMRun, WATCHED_FRACTION, iterations=60, random_labels=True)
    for name in WATCHED[::2] if settings.quick else WATCHED:
        add(name, "watched", RFMRun, WATCHED_FRACTION, iterations=40, keep=KEPT)
    return {
        label: [describe(seed) for seed in settings.seeds] for label, describe in described.items()
    }


def _collect(series: Series, results: Results) -> Numbers:
    """Accuracies in the end (labels, seeds); of the watched runs what their features are made of.

    shares (labels, seeds, t, 3): of the cross block and the first operand's block by lines a b⁻¹,
    of the second operand's by lines a⁻¹ b. energies_<label> (seeds, t, components).
    """
    watched = [label for label in series if "watched" in label]
    numbers: dict[str, Any] = {
        "labels": np.array(list(series)),
        "test_accuracy": np.array(
            [[results[run]["test_accuracy"][-1] for run in runs] for runs in series.values()]
        ),
        "watched": np.array(watched),
        "kept": np.array(KEPT),
    }
    shares = []
    for label in watched:
        matrices = [[results[run][f"matrix_{t}"] for t in KEPT] for run in series[label]]
        table = np.array(table_of(label.split("; ")[0]))
        shares.append([[_shares(M, table) for M in row] for row in matrices])
        n = len(table)
        cross: NDArray[Any] = np.array(matrices)[..., :n, n:]
        cross = cross - cross.mean(axis=(-2, -1), keepdims=True)
        numbers[f"energies_{label.split('; ')[0]}"] = representations.isotypic_energies(
            cross, table
        )
    return {**numbers, "shares": np.array(shares)}


def _shares(M: Any, table: Any) -> tuple[float, float, float]:
    n = len(table)
    cross, first, second = M[:n, n:], M[:n, :n].copy(), M[n:, n:].copy()
    for block in (first, second):  # their diagonals would hide all else
        np.fill_diagonal(block, block[~np.eye(n, dtype=bool)].mean())
    return (
        representations.line_share(cross, table, "x y^-1"),
        representations.line_share(first, table, "x y^-1"),
        representations.line_share(second, table, "x^-1 y"),
    )


def plot_groups(data: Numbers, axes: Any = None) -> Any:
    """Accuracy of RFM and networks, of random features, lines, representations; 2 x 2 Axes."""
    axes = new_axes(2, 2, width=5.2, height=3.8) if axes is None else axes
    keys = [str(label).split("; ") for label in data["labels"]]
    for ax, ways in ((axes[0, 0], ("RFM", "network")), (axes[0, 1], ("random",))):
        for name, colour in COLOURS.items():
            for way in ways:
                rows = [i for i, key in enumerate(keys) if key[:2] == [name, way]]
                if rows:
                    x = [100 * float(keys[i][2]) for i in rows]
                    style = {"color": colour, "marker": "o" if way != "network" else "s",
                             "linestyle": "--" if way == "network" else "-", "markersize": 4,
                             "label": f"{name}, {way}" if way == "network" else name}  # fmt: skip
                    plot_band(x, 100 * data["test_accuracy"][rows].T, ax, **style)
        panel(ax, "test accuracy (%)", "training fraction (%)", percent=True)
        ax.legend(frameon=False, fontsize=7)
    axes[0, 0].set_title("learnt", fontsize=10)
    axes[0, 1].set_title("random features constant on $ab^{-1} = g$, not trained", fontsize=10)
    for label, shares in zip(data["watched"], data["shares"], strict=True):
        name = str(label).split("; ")[0]
        for part, dash in enumerate(("-", "--")):
            block = ("cross block", "operand's block")[part]
            look = {"color": COLOURS[name], "linestyle": dash, "label": f"{name}, {block}"}
            plot_band(data["kept"], shares[:, :, part], axes[1, 0], **look)
    panel(axes[1, 0], "energy constant on $ab^{-1} = g$")
    axes[1, 0].set_ylim(0, 1)
    axes[1, 0].legend(frameon=False, fontsize=7)
    name = WATCHED[-1]
    sizes = [
        basis.shape[1] for basis in representations.isotypic_components(np.array(table_of(name)))
    ]
    for i, size in enumerate(sizes[1:], start=1):
        style = {"color": f"C{i - 1}", "label": f"dimension {round(size**0.5)}"}
        plot_band(data["kept"], data[f"energies_{name}"][:, :, i], axes[1, 1], **style)
    panel(axes[1, 1], f"{name}: energy in $\\rho \\otimes \\rho$")
    axes[1, 1].legend(frameon=False, fontsize=7)
    return axes


FIGURES = (
    Figure(
        "groups",
        "Groups of order 60 and 120: abelian ones are learnt, A₅ and S₅ are memorised",
        _series,
        _collect,
        plot_groups,
    ),
)
