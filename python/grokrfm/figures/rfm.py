"""The figures of Recursive Feature Machines: the runs each needs, its numbers, its picture.

Each plot function takes the numbers as they are stored beside the picture and returns the Axes.
Bands are the range over the seeds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..analysis import features
from ..experiments import Experiment, RFMRun, first_passed
from .panels import SIGNS, new_axes, panel, plot_band, plot_by_operation, plot_feature_matrix
from .registry import (
    Figure,
    Numbers,
    Results,
    Series,
    Settings,
    accuracy_by_label,
    columns,
    last_rows,
)

FOUR = ("x+y", "x-y", "x*y", "x/y")
STAGES = (1, 5, 10, 15, 30)
LOSS = "test_correct_class_mse"
LOSS_LABEL = "correct-class squared error"


def _four_operations(settings: Settings) -> Series:
    return {
        operation: [RFMRun(operation=operation, seed=seed, keep=STAGES) for seed in settings.seeds]
        for operation in FOUR
    }


def plot_grokking(data: Numbers, axes: Any = None) -> Any:
    """Figure 1: accuracy, losses and the final feature matrix of x + y mod 59; three Axes."""
    axes = new_axes(3) if axes is None else axes
    x = np.arange(data["test_accuracy"].shape[-1])
    for column, colour, label in (
        ("train_accuracy", "0.6", "training"),
        ("test_accuracy", "C0", "test"),
    ):
        plot_band(x, 100 * data[column][0], axes[0], color=colour, label=label)
    for column, colour, label in (
        (LOSS, "C3", "test, correct class"),
        ("test_mse", "C1", "test, mean over classes"),
        ("train_mse", "0.6", "training, mean over classes"),
    ):
        plot_band(x, data[column][0], axes[1], color=colour, label=label)
    panel(axes[0], "accuracy (%)", percent=True)
    panel(axes[1], "squared error")
    axes[0].legend(frameon=False, loc="center left")
    axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(0, 0.3))
    plot_feature_matrix(data["matrix_30"][0, 0], ax=axes[2])
    axes[2].set_title("feature matrix, iteration 30")
    return axes


def plot_progress_measures(data: Numbers, axes: Any = None) -> Any:
    """Figure 2: accuracy, circulant deviation and alignment of the four operations; three Axes."""
    axes = new_axes(3) if axes is None else axes
    plot_by_operation(data, "test_accuracy", axes[0], 100)
    plot_by_operation(data, "circulant_deviation", axes[1])
    plot_by_operation(data, "feature_alignment", axes[2])
    panel(axes[0], "test accuracy (%)", percent=True)
    panel(axes[1], "circulant deviation")
    axes[2].set(xlabel="iteration", ylabel="alignment with the final $M$", ylim=(0.6, 1.01))
    axes[0].legend(frameon=False)
    return axes


def plot_losses(data: Numbers, axes: Any = None) -> Any:
    """Figure A1: losses of the four operations, of no use to foresee the transition; two Axes."""
    axes = new_axes(2) if axes is None else axes
    plot_by_operation(data, "test_mse", axes[0])
    plot_by_operation(data, "train_mse", axes[0], linestyle="--", label=None)
    plot_by_operation(data, LOSS, axes[1])
    axes[0].text(0.5, 0.05, "training", transform=axes[0].transAxes, ha="center", color="0.4")
    axes[0].text(0.5, 0.8, "test", transform=axes[0].transAxes, color="0.4")
    panel(axes[0], "mean squared error")
    panel(axes[1], f"test {LOSS_LABEL}")
    axes[1].legend(frameon=False)
    return axes


def plot_final_features(data: Numbers, axes: Any = None) -> Any:
    """Figure 3: final feature matrices of the four operations; four Axes."""
    axes = new_axes(2, 2, height=3.6) if axes is None else axes
    for label, matrices, ax in zip(data["labels"], data["matrix_30"], np.ravel(axes), strict=True):
        plot_feature_matrix(matrices[0], str(label), ax)
        ax.set_title(SIGNS[str(label)])
    return axes


def plot_features_over_training(data: Numbers, axes: Any = None) -> Any:
    """Figure A2: x · y over training, as it stands and by discrete logarithm; 2 × stages Axes."""
    axes = new_axes(len(STAGES), 2, width=3.2, height=2.9) if axes is None else axes
    for row, reorder in enumerate((False, True)):
        for ax, t in zip(axes[row], STAGES, strict=True):
            plot_feature_matrix(data[f"matrix_{t}"][0, 0], "x*y", ax, reorder)
            if row == 0:
                ax.set_title(f"iteration {t}")
            if t != STAGES[0]:
                ax.set_yticks([])
            if t != STAGES[-1]:
                ax.images[0].colorbar.set_label("")
    return axes


# Figure 4: against random circulant features, over the training fraction


def _circulant_or_learnt(settings: Settings) -> Series:
    fractions = (0.2, 0.3, 0.4, 0.5) if settings.quick else (
        0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6,
    )  # fmt: skip
    methods = {"RFM": (40, False), "random circulant": (0, True)}
    return {
        f"{operation}; {method}; {fraction}": [
            RFMRun(
                operation=operation,
                train_fraction=fraction,
                seed=seed,
                kernel="gaussian",
                dtype="float64",
                iterations=iterations,
                random_circulant=at_random,
            )
            for seed in settings.seeds
        ]
        for operation in ("x+y", "x*y")
        for method, (iterations, at_random) in methods.items()
        for fraction in fractions
    }


def plot_random_circulant(data: Numbers, axes: Any = None) -> Any:
    """Figure 4: learnt features beside random circulant ones over the training fraction."""
    axes = new_axes(2) if axes is None else axes
    keys = [str(label).split("; ") for label in data["labels"]]
    for ax, operation in zip(axes, ("x+y", "x*y"), strict=True):
        for method, colour in (("RFM", "C0"), ("random circulant", "C3")):
            rows = [i for i, key in enumerate(keys) if key[:2] == [operation, method]]
            fractions = [100 * float(keys[i][2]) for i in rows]
            name = "RFM after 40 iterations" if method == "RFM" else "random circulant, no training"
            style = {"color": colour, "label": name, "marker": "o", "markersize": 3}
            plot_band(fractions, 100 * data["test_accuracy"][rows].T, ax, **style)
        panel(ax, "test accuracy (%)", "training fraction (%)", percent=True)
        ax.set_title(SIGNS[operation])
    axes[1].legend(frameon=False, fontsize="small", handlelength=1.2, loc="lower right")
    return axes


# Figure A3: exact structure put into each feature matrix


def _enforced(settings: Settings) -> Series:
    p = 61 if settings.quick else 97
    return {
        str(p): [
            RFMRun(modulus=p, seed=s, kernel="gaussian", dtype="float64", enforce=True)
            for s in settings.seeds
        ]
    }


def plot_enforced_structure(data: Numbers, axes: Any = None) -> Any:
    """Figure A3: RFM and the same feature matrices with exact structure; two Axes."""
    axes = new_axes(2) if axes is None else axes
    x = np.arange(data["test_accuracy"].shape[-1])
    for prefix, colour, label in (
        ("", "C0", "RFM"),
        ("enforced_", "C3", "structure enforced"),
    ):
        plot_band(x, 100 * data[f"{prefix}test_accuracy"][0], axes[0], color=colour, label=label)
        plot_band(x, data[f"{prefix}{LOSS}"][0], axes[1], color=colour, label=label)
    panel(axes[0], "test accuracy (%)", percent=True)
    panel(axes[1], LOSS_LABEL)
    axes[0].legend(frameon=False)
    return axes


# Figure A4: two operations with a task bit


def _two_tasks(settings: Settings) -> Series:
    tasks, iterations = ("x+y", "x^2+y^2"), 20 if settings.quick else 30
    return {
        "61": [
            RFMRun(
                operation=tasks,
                train_fraction=0.8,
                seed=seed,
                kernel="gaussian",
                dtype="float64",
                iterations=iterations,
            )
            for seed in settings.seeds
        ]
    }


def plot_two_tasks(data: Numbers, ax: Any = None) -> Any:
    """Figure A4: accuracy on each of two tasks with shared outputs; one Axes."""
    ax = new_axes(width=6)[0] if ax is None else ax
    for task, (operation, colour) in enumerate((("x+y", "C0"), ("x^2+y^2", "C4"))):
        curves = data[f"test_accuracy_task_{task}"][0]
        x = np.arange(curves.shape[-1])
        plot_band(x, 100 * curves, ax, color=colour, label=SIGNS[operation])
    panel(ax, "test accuracy (%)", percent=True)
    ax.legend(frameon=False)
    return ax


# Figure A10: over the training fraction


def _fractions(settings: Settings) -> Series:
    p = 61 if settings.quick else 97
    fractions = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5) if settings.quick else (
        0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3, 0.35, 0.4, 0.5,
    )  # fmt: skip
    return {
        str(fraction): [
            RFMRun(
                modulus=p,
                train_fraction=fraction,
                seed=seed,
                kernel="gaussian",
                dtype="float64",
                keep=(30,),
            )
            for seed in settings.seeds
        ]
        for fraction in fractions
    }


def _last_and_alignment(series: Series, results: Results) -> Numbers:
    """Last rows, and the alignment of final matrices with that of the largest fraction."""
    best = [results[run]["matrix_30"] for run in list(series.values())[-1]]
    aligned = [
        [
            features.alignment(results[run]["matrix_30"], M)
            for run, M in zip(runs, best, strict=True)
        ]
        for runs in series.values()
    ]
    return {**last_rows("test_accuracy", LOSS)(series, results), "alignment": np.array(aligned)}


def plot_fractions(data: Numbers, axes: Any = None) -> Any:
    """Figure A10: accuracy, loss and alignment over the training fraction; three Axes."""
    axes = new_axes(3) if axes is None else axes
    fractions = [100 * float(label) for label in data["labels"]]
    xlabel = "training fraction (%)"
    for ax, column, scale in zip(
        axes, ("test_accuracy", LOSS, "alignment"), (100, 1, 1), strict=True
    ):
        plot_band(fractions, scale * data[column].T, ax, color="C0", marker="o", markersize=3)
    panel(axes[0], "test accuracy (%)", xlabel, percent=True)
    panel(axes[1], LOSS_LABEL, xlabel)
    axes[2].set(xlabel=xlabel, ylabel=f"alignment with $M$ at {fractions[-1]:g} %")
    return axes


# Our own: the transition over the modulus


def _moduli(settings: Settings) -> Series:
    exact = (31, 61, 97) if settings.quick else (31, 61, 97, 199)
    runs: dict[str, list[Experiment]] = {
        str(p): [RFMRun(modulus=p, seed=seed, keep=STAGES) for seed in settings.seeds]
        for p in exact
    }
    if not settings.quick:
        sampled: dict[str, Any] = {"agop_classes": 12, "tol": 1e-2, "iterations": 18}
        for p, pairs in ((499, 64), (997, 32)):
            runs[str(p)] = [
                RFMRun(modulus=p, seed=seed, eval_pairs=pairs, keep_features="last", **sampled)
                for seed in settings.seeds
            ]
    return runs


def plot_sharpening(data: Numbers, axes: Any = None) -> Any:
    """Test accuracy of x + y over iterations for several moduli; its widths; two Axes."""
    axes = new_axes(2, width=5.2, height=3.6) if axes is None else axes
    for i, (p, curves) in enumerate(data.items()):
        style = {"color": f"C{i}", "label": f"$p$ = {p}"}
        plot_band(np.arange(curves.shape[1]), 100 * curves, axes[0], **style)
        widths = [
            first_passed(np.arange(len(curve)), curve, 0.9)
            - first_passed(np.arange(len(curve)), curve, 0.1)
            for curve in curves
        ]
        axes[1].plot([int(p)] * len(widths), widths, "o", color=f"C{i}", markersize=4)
    panel(axes[0], "test accuracy (%)", percent=True)
    axes[0].legend(frameon=False)
    panel(axes[1], "iterations from 10 % to 90 %", "$p$")
    axes[1].set_xscale("log")
    axes[1].set_xticks([int(p) for p in data], list(data))
    axes[1].minorticks_off()
    return axes


def _addition(settings: Settings) -> Series:
    return {"x+y": [RFMRun(modulus=59, seed=seed, keep=(30,)) for seed in settings.seeds]}


FIGURES = (
    Figure(
        "1",
        "RFM groks x + y mod 59",
        _addition,
        columns("train_accuracy", "test_accuracy", "train_mse", "test_mse", LOSS, "matrix_30"),
        plot_grokking,
    ),
    Figure(
        "2",
        "Progress measures of the four operations mod 61",
        _four_operations,
        columns("test_accuracy", "circulant_deviation", "feature_alignment"),
        plot_progress_measures,
    ),
    Figure(
        "3",
        "Final feature matrices of the four operations mod 61",
        _four_operations,
        columns("matrix_30"),
        plot_final_features,
    ),
    Figure(
        "4",
        "Gaussian kernel mod 61: learnt features beside random circulant ones",
        _circulant_or_learnt,
        last_rows("test_accuracy"),
        plot_random_circulant,
    ),
    Figure(
        "A1",
        "Losses of the four operations mod 61",
        _four_operations,
        columns("train_mse", "test_mse", LOSS),
        plot_losses,
    ),
    Figure(
        "A2",
        "Feature matrix of x · y mod 61 over training",
        lambda settings: {"x*y": _four_operations(settings)["x*y"]},
        columns(*(f"matrix_{t}" for t in STAGES)),
        plot_features_over_training,
    ),
    Figure(
        "A3",
        "Gaussian kernel, x + y: exact structure enforced on each feature matrix",
        _enforced,
        columns("test_accuracy", LOSS, "enforced_test_accuracy", f"enforced_{LOSS}"),
        plot_enforced_structure,
    ),
    Figure(
        "A4",
        "Gaussian kernel: two operations with a task bit and shared outputs",
        _two_tasks,
        columns("test_accuracy_task_0", "test_accuracy_task_1"),
        plot_two_tasks,
    ),
    Figure(
        "A10",
        "Gaussian kernel, x + y: over the training fraction",
        _fractions,
        _last_and_alignment,
        plot_fractions,
    ),
    Figure(
        "sharpening",
        "x + y: the transition sharpens with the modulus",
        _moduli,
        accuracy_by_label,
        plot_sharpening,
    ),
)
