"""Pictures of sweeps: phase diagrams, critical fractions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..experiments import SweepTable
from .panels import new_axes

LABELS = {
    "train_fraction": "training fraction",
    "modulus": "modulus",
    "final_test_accuracy": "test accuracy",
}


def plot_phase_diagram(
    table: SweepTable,
    x: str = "train_fraction",
    y: str = "modulus",
    value: str = "final_test_accuracy",
    ax: Any = None,
) -> Any:
    """Draw a quantity over two columns of a table as a map, mean over all other columns.

    Parameters
    ----------
    table : SweepTable
    x, y, value : str
        Columns; cells stand side by side in the order of x and y, whatever their distance.
    ax : Axes, optional

    Raises
    ------
    ValueError
        For an unknown column.
    """
    ax = new_axes(width=6)[0] if ax is None else ax
    across, up = (np.array([_text(entry) for entry in table.column(name)]) for name in (x, y))
    values = table.column(value).astype(float)
    columns, rows = (_in_order(table.column(name)) for name in (x, y))
    cells = np.full((len(rows), len(columns)), np.nan)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            cell = values[(across == column) & (up == row)]
            if np.isfinite(cell).any():
                cells[i, j] = np.nanmean(cell)
    limits = (0, 1) if "accuracy" in value else (None, None)
    image = ax.imshow(cells, origin="lower", aspect="auto", vmin=limits[0], vmax=limits[1])
    ax.set_xticks(range(len(columns)), columns, rotation=90 if len(columns) > 12 else 0)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlabel=LABELS.get(x, x), ylabel=LABELS.get(y, y))
    ax.figure.colorbar(image, ax=ax, label=LABELS.get(value, value))
    return ax


def plot_critical_fraction(table: SweepTable, ax: Any = None) -> Any:
    """Draw critical fractions over the modulus, log-log, a line and its exponent an operation.

    Points are means over the seeds, bars their range and intervals. The line is the least-squares
    fit of log r over log p.

    Parameters
    ----------
    table : SweepTable
        Of `critical_fraction`.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If it is another table.
    """
    ax = new_axes(width=6)[0] if ax is None else ax
    names = np.array([_text(entry) for entry in table.column("operation")])
    moduli = table.column("modulus").astype(float)
    critical, lower, upper = (table.column(name) for name in ("critical", "lower", "upper"))
    for i, name in enumerate(dict.fromkeys(names.tolist())):
        p = np.unique(moduli[names == name])
        each = [(names == name) & (moduli == modulus) for modulus in p]
        r = np.array([critical[rows].mean() for rows in each])
        spread = [
            [mean - lower[rows].min() for mean, rows in zip(r, each, strict=True)],
            [upper[rows].max() - mean for mean, rows in zip(r, each, strict=True)],
        ]
        label = name
        if len(p) > 1:
            slope, offset = np.polyfit(np.log(p), np.log(r), 1)
            ax.plot(p, np.exp(offset) * p**slope, color=f"C{i}", linewidth=1)
            label = f"{name}: $p^{{{slope:.2f}}}$"
        ax.errorbar(p, r, spread, fmt="o", color=f"C{i}", capsize=3, label=label)
    ax.set(xscale="log", yscale="log", xlabel="modulus", ylabel="critical training fraction")
    for axis, ticks in ((ax.xaxis, np.unique(moduli)), (ax.yaxis, _round_ticks(lower, upper))):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    ax.legend(frameon=False)
    return ax


def _round_ticks(lower: Any, upper: Any) -> Any:
    """Multiples of a tenth, or of a twentieth, that span the intervals."""
    step = 0.05 if np.max(upper) - np.min(lower) < 0.4 else 0.1
    first, last = np.floor(np.min(lower) / step), np.ceil(np.max(upper) / step)
    return np.maximum(np.arange(first, last + 1) * step, step / 5).round(3)


def _in_order(column: Any) -> list[str]:
    """Distinct entries as text, numbers ascending, all else as they come."""
    entries = list(dict.fromkeys(column.tolist()))
    return [_text(entry) for entry in (sorted(entries) if column.dtype.kind in "iuf" else entries)]


def _text(entry: Any) -> str:
    if isinstance(entry, float | np.floating):
        return f"{entry:g}"
    return " ".join(entry) if isinstance(entry, tuple) else str(entry)
