import numpy as np
import pytest
from grokrfm.figures.critical import CURVES, accuracy_curves, passed, plot_critical, power_law
from grokrfm.figures.panels import off_screen


def curves(kinds):
    """Numbers as the figure stores them, of kind -> {modulus: (fractions, curves of seeds)}."""
    labels, rows = [], []
    for kind, moduli in kinds.items():
        for p, (fractions, seeds) in moduli.items():
            for i, r in enumerate(fractions):
                labels.append(f"{kind}; {p}; {r:.4f}")
                rows.append([curve[i] for curve in seeds])
    return {"labels": np.array(labels), "test_accuracy": np.array(rows)}


def test_power_law():
    p = np.array([23, 43, 97, 199])
    factor, exponent, error = power_law(p, 1.5 * p**-0.4)
    np.testing.assert_allclose([factor, exponent], [1.5, -0.4])
    assert error < 1e-8
    # The error is the spread of the exponent over draws of the scatter.
    rng = np.random.default_rng(0)
    x = np.tile(p, 10)
    fits = [power_law(x, x**-0.4 * np.exp(0.05 * rng.standard_normal(40))) for _ in range(400)]
    np.testing.assert_allclose(
        np.std([fit[1] for fit in fits]), np.mean([fit[2] for fit in fits]), rtol=0.1
    )


def test_where_curves_pass():
    data = curves(
        {
            "x+y": {
                23: ((0.3, 0.4, 0.5), [(0.0, 0.4, 0.9), (0.1, 0.5, 1.0)]),
                43: ((0.3, 0.4, 0.5), [(0.6, 0.8, 0.9), (0.0, 0.1, 0.2)]),
            },
            "x*y": {127: ((0.2, 0.3), [(0.0, 1.0), (0.25, 0.75)])},
        }
    )
    assert list(accuracy_curves(data)) == [("x+y", 23), ("x+y", 43), ("x*y", 127)]
    found = passed(data, 0.5)
    np.testing.assert_array_equal(found["x+y"][0], [23, 43])
    # A curve that begins above the level, or ends below, says nothing about where it passes.
    np.testing.assert_allclose(found["x+y"][1], [[0.42, np.nan], [0.4, np.nan]])
    np.testing.assert_allclose(found["x*y"][1], [[0.25], [0.25]])


def test_means_are_over_the_seeds_that_have_one():
    r, whole, low = (0.3, 0.4, 0.5), (0.0, 0.5, 1.0), (0.0, 0.1, 0.2)
    kinds = {"x+y": {23: (r, [whole, low]), 43: (r, [low, low])}, "x*y": {23: (r, [low, low])}}
    with off_screen():
        _, _, thresholds, widths = plot_critical(curves(kinds)).flat
    np.testing.assert_allclose(widths.lines[0].get_xydata(), [(23, 0.4)])
    assert [text.get_text() for text in widths.get_legend().get_texts()] == ["x+y"]
    for guide in thresholds.lines[-3:]:
        np.testing.assert_allclose(guide.get_xydata()[0], (23, 0.4))


@pytest.mark.parametrize("of", CURVES, ids=lambda of: f"{of.kind} {of.moduli[0]}")
def test_runs_are_what_their_curves_say(of):
    runs = [of.run(p, scaled, 1) for p in of.moduli for scaled in of.scaled]
    assert all(run.seed == 1 and run.stop_accuracy == 0.99 for run in runs)
    assert all(0 < run.train_fraction < 1 for run in runs)
    assert len(set(runs)) == len(of.moduli) * len(of.scaled)
