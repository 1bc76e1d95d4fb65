"""Accuracy curves of sampled runs over the number of drawn classes: the figure of sampling.md.

    python docs/sampling.py

x+y, quadratic kernel, three seeds, one in the last panel; far from the smallest training fraction
that generalises and close to it; and one draw kept for all rounds, which fails. Writes
docs/figures/sampling.npz and sampling.png; what the file has is not computed anew.
"""

from pathlib import Path

import numpy as np
from grokrfm import ModularTask, RFMClassifier

FILE = Path(__file__).parent / "figures" / "sampling.npz"
# modulus, training fraction, rounds, seeds
PANELS = ((61, 0.5, 30, 3), (61, 0.38, 60, 3), (199, 0.5, 20, 3), (199, 0.25, 45, 1))
DRAWN = (2, 4, 8, 12, 16, 24)


def curve(p, fraction, iterations, m, seed):
    """Test accuracies of a run; of drawn pairs at p = 199, unless all classes are solved for."""
    given = {"tol": 1e-4}
    if m is not None:
        given |= {"agop_classes": m, "seed": seed}
        if p > 61:
            given["eval_pairs"] = 256
    split = ModularTask("x+y", p).split(fraction, seed)
    return RFMClassifier(p, iterations=iterations, **given).fit(split).history_["test_accuracy"]


def fixed_curve(p, fraction, iterations, m, seed):
    """The same with one draw of the classes for all rounds."""
    split = ModularTask("x+y", p).split(fraction, seed)
    classes = np.random.default_rng(seed).choice(p, m, replace=False)
    M, accuracies = None, []
    for _ in range(iterations + 1):
        model = RFMClassifier(p, iterations=0, tol=1e-4).fit(split, feature_matrix=M)
        accuracies.append(model.history_["test_accuracy"][0])
        values, vectors = np.linalg.eigh(
            p / m * model.class_agops(classes).sum(axis=0, dtype=np.float64)
        )
        M = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return np.array(accuracies)


def compute():
    """All curves, by name; stored after each."""
    curves = dict(np.load(FILE)) if FILE.exists() else {}

    def add(name, function, *arguments):
        if name not in curves:
            curves[name] = function(*arguments)
            np.savez(FILE, **curves)
            print(name, curves[name][-1].round(4), flush=True)

    for p, fraction, iterations, seeds in PANELS:
        for seed in range(seeds):
            for m in (*DRAWN, None):
                add(
                    f"p{p}_r{fraction}_m{p if m is None else m}_seed{seed}",
                    curve,
                    *(p, fraction, iterations, m, seed),
                )
            if (p, fraction) == (61, 0.5):
                add(f"p{p}_r{fraction}_fixed12_seed{seed}", fixed_curve, p, fraction, 30, 12, seed)
    return curves


def plot(curves):
    """One panel a modulus and fraction; a line the mean over the seeds, a band their range."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(DRAWN)))
    for ax, (p, fraction, _, seeds) in zip(axes.flat, PANELS, strict=True):
        lines = [(f"m{m}", f"m = {m}", {"color": c}) for m, c in zip(DRAWN, colors, strict=True)]
        lines.append((f"m{p}", f"all {p} classes", {"color": "k", "linestyle": "--"}))
        lines.append(("fixed12", "the same 12 every round", {"color": "tab:red"}))
        for key, label, style in lines:
            names = [f"p{p}_r{fraction}_{key}_seed{seed}" for seed in range(seeds)]
            if names[0] not in curves:
                continue
            of_seeds = 100 * np.array([curves[name] for name in names])
            t = np.arange(of_seeds.shape[1])
            ax.plot(t, of_seeds.mean(axis=0), label=label, **style)
            ax.fill_between(
                t, of_seeds.min(axis=0), of_seeds.max(axis=0), alpha=0.12, color=style["color"]
            )
        ax.set(xlabel="iteration", ylabel="test accuracy (%)", ylim=(-2, 102))
        ax.set_title(f"p = {p}, {fraction:g} of all pairs trained")
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.savefig(FILE.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    plot(compute())
