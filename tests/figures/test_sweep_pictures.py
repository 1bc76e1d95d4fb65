"""Pictures of the tables of sweeps."""

import matplotlib
import numpy as np
import pytest
from grokrfm import RFMRun, SweepTable, figures

matplotlib.use("Agg")


@pytest.fixture
def axes():
    from matplotlib import pyplot as plt

    yield plt.subplots()[1]
    plt.close("all")


def table(rows):
    return SweepTable([{"status": "done", **row} for row in rows], [RFMRun(modulus=5)], "none")


def test_phase_diagram(axes):
    rows = [
        {"modulus": p, "train_fraction": r, "seed": seed, "final_test_accuracy": value + 0.1 * seed}
        for p, r, value in ((7, 0.5, 0.4), (7, 0.25, 0.2), (5, 0.5, 0.3))
        for seed in range(2)
    ]
    rows.append({"modulus": 5, "train_fraction": 0.25, "seed": 0, "status": "failed"})
    assert figures.plot_phase_diagram(table(rows), ax=axes) is axes
    cells = axes.images[0].get_array()
    np.testing.assert_allclose(np.ma.filled(cells, np.nan), [[np.nan, 0.35], [0.25, 0.45]])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.25", "0.5"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["5", "7"]
    with pytest.raises(ValueError, match="column: expected one of"):
        figures.plot_phase_diagram(table(rows), value="speed", ax=axes)


def test_critical_fractions_and_their_exponent(axes):
    rows = [
        {"operation": operation, "modulus": p, "critical": r, "lower": r - 0.01, "upper": r + 0.01}
        for operation, scale in (("x+y", 2.0), (("x+y", "x-y"), 1.0))
        for p in (16, 25, 36)
        for r in (scale * p**-0.5,)
    ]
    figures.plot_critical_fraction(table(rows), axes)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["x+y: $p^{-0.50}$", "x+y x-y: $p^{-0.50}$"]
    line = axes.lines[0]
    np.testing.assert_allclose(line.get_ydata(), 2 * np.array([16, 25, 36]) ** -0.5)
