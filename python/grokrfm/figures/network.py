"""The figures of neural networks, and of networks beside Recursive Feature Machines."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..experiments import NetworkRun, RFMRun
from .panels import SIGNS, new_axes, panel, plot_band, plot_by_operation, plot_feature_matrix
from .registry import Figure, Numbers, Series, Settings, accuracy_by_label, columns
from .rfm import STAGES

ORIENTED = ("circulant_deviation_circulant", "circulant_deviation_hankel")
CORRELATIONS = ("nfm_correlation", "nfm_correlation_off_diagonal")


def _trained(*operations: str) -> Any:
    """Return the paper's network on these operations, measured every epoch."""

    def series(settings: Settings) -> Series:
        epochs = 30 if settings.quick else 50
        return {
            operation: [
                NetworkRun(operation=operation, epochs=epochs, seed=seed, measure=True)
                for seed in settings.seeds
            ]
            for operation in operations
        }

    return series


def plot_network_measures(data: Numbers, axes: Any = None) -> Any:
    """Figures 5 and A5: accuracy, circulant deviation and alignment of √AGOP; three Axes."""
    axes = new_axes(3) if axes is None else axes
    plot_by_operation(data, "test_accuracy", axes[0], 100)
    for column, linestyle in zip(ORIENTED, ("-", "--"), strict=True):
        plot_by_operation(data, column, axes[1], linestyle=linestyle)
    plot_by_operation(data, "feature_alignment", axes[2])
    panel(axes[0], "test accuracy (%)", "epoch", percent=True)
    panel(axes[1], "deviation of √AGOP", "epoch")
    axes[1].set_title("circulant (solid), Hankel (dashed)", fontsize="medium")
    axes[2].set(xlabel="epoch", ylabel="alignment with the final √AGOP", ylim=(None, 1.01))
    axes[0].legend(frameon=False, loc="lower right")
    return axes


def plot_feature_ansatz(data: Numbers, axes: Any = None) -> Any:
    """Figures 6 and A6: NFM beside √AGOP after training; (operations, 2) Axes."""
    axes = new_axes(2, len(data["labels"]), height=3.7) if axes is None else axes
    for i, label in enumerate(data["labels"]):
        plot_feature_matrix(data["nfm"][i, 0], str(label), axes[i][0])
        plot_feature_matrix(data["feature_matrix"][i, 0], str(label), axes[i][1])
        whole, off = (data[column][i, 0, -1] for column in CORRELATIONS)
        axes[i][0].set_title(f"{SIGNS[str(label)]}: NFM")
        axes[i][1].set_title(f"√AGOP; correlation {whole:.3f}, off the diagonal {off:.3f}")
        axes[i][1].title.set_fontsize("medium")
    return axes


def plot_ansatz_over_training(data: Numbers, axes: Any = None) -> Any:
    """Figure A7: correlation of NFM and √AGOP over training, diagonal in and out; two Axes."""
    axes = new_axes(2) if axes is None else axes
    for ax, column, title in zip(
        axes, CORRELATIONS, ("with the diagonal", "without the diagonal"), strict=True
    ):
        plot_by_operation(data, column, ax)
        ax.set(xlabel="epoch", ylabel="correlation of NFM and √AGOP", title=title, ylim=(0.6, 1.01))
    axes[1].legend(frameon=False, ncols=2, loc="lower right")
    return axes


# Figures 7 and A9: random circulant inputs


def _inputs(*operations: str) -> Any:
    """Return runs on one-hot and on random circulant inputs, from a small share of the pairs."""

    def series(settings: Settings) -> Series:
        kinds = {"one-hot": (3000, False), "random circulant": (1000, True)}
        return {
            f"{operation}; {inputs}": [
                NetworkRun(
                    operation=operation,
                    train_fraction=0.175,
                    epochs=min(longest, 300) if settings.quick else longest,
                    seed=seed,
                    random_circulant=at_random,
                )
                for seed in settings.seeds
            ]
            for operation in operations
            for inputs, (longest, at_random) in kinds.items()
        }

    return series


def plot_circulant_inputs(data: Numbers, axes: Any = None) -> Any:
    """Figures 7 and A9: one-hot and random circulant inputs; an Axes for each operation."""
    operations = list(dict.fromkeys(label.split("; ")[0] for label in data))
    axes = new_axes(len(operations)) if axes is None else axes
    for ax, operation in zip(axes, operations, strict=True):
        for inputs, colour in (("one-hot", "C0"), ("random circulant", "C3")):
            curves = data[f"{operation}; {inputs}"]
            x = np.arange(1, curves.shape[1])
            plot_band(x, 100 * curves[:, 1:], ax, color=colour, label=f"{inputs} inputs")
        panel(ax, "test accuracy (%)", "epoch", percent=True)
        ax.set_xscale("log")
        ax.set_title(SIGNS[operation])
    axes[0].legend(frameon=False, loc="upper left", fontsize="small")
    return axes


# Figure A8: SGD, with and without a push towards simple features


def _sgd(settings: Settings) -> Series:
    pushes = {  # weight decay, penalty
        "neither": (0.0, 0.0),
        "weight decay 1e-5": (1e-5, 0.0),
        "tr(AGOP) penalty 1e-4": (0.0, 1e-4),
        "tr(AGOP) penalty 1e-3": (0.0, 1e-3),
    }
    return {
        label: [
            NetworkRun(
                train_fraction=0.4,
                epochs=500 if settings.quick else 16000,
                seed=seed,
                hidden_width=512,
                batch_size=128,
                optimizer="sgd",
                learning_rate=1.0,
                weight_decay=weight_decay,
                agop_penalty=agop_penalty,
            )
            for seed in settings.seeds[:1]  # the longest runs of all
        ]
        for label, (weight_decay, agop_penalty) in pushes.items()
    }


def plot_sgd(data: Numbers, axes: Any = None) -> Any:
    """Figure A8: one seed of SGD plain, with weight decay, with tr(AGOP) penalties; two Axes."""
    axes = new_axes(2) if axes is None else axes
    x = np.arange(data["test_accuracy"].shape[-1])
    for i, (label, colour) in enumerate(
        zip(data["labels"], ("0.5", "C0", "C1", "C3"), strict=True)
    ):
        style = {"color": colour, "label": str(label)}
        plot_band(x, 100 * data["test_accuracy"][i], axes[0], **style)
        plot_band(x, data["train_mse"][i], axes[1], **style)
    panel(axes[0], "test accuracy (%)", "epoch", percent=True)
    axes[1].set(xlabel="epoch", ylabel="training mean squared error", yscale="log")
    axes[0].legend(frameon=False)
    return axes


# Our own: RFM and network side by side


def _side_by_side(settings: Settings) -> Series:
    epochs = 30 if settings.quick else 50
    return {
        "RFM": [RFMRun(modulus=61, seed=seed, keep=STAGES) for seed in settings.seeds],
        "network": [NetworkRun(epochs=epochs, seed=seed, measure=True) for seed in settings.seeds],
    }


def _both(series: Series, results: Any) -> Numbers:
    """Curves and final feature matrices of both under names that begin with rfm_ and network_."""
    rfm = columns("test_accuracy", "circulant_energy", "hankel_energy", "matrix_30")
    net = columns("test_accuracy", "circulant_energy", "hankel_energy", "feature_matrix")
    return {
        **{f"rfm_{key}": value[0] for key, value in rfm({"RFM": series["RFM"]}, results).items()},
        **{
            f"network_{key}": value[0]
            for key, value in net({"network": series["network"]}, results).items()
        },
    }


def plot_side_by_side(data: Numbers, axes: Any = None) -> Any:
    """Accuracy, energy on circulant and Hankel lines, final features of both; (2, 3) Axes."""
    axes = new_axes(3, 2) if axes is None else axes
    for row, (name, time, matrix) in enumerate(
        (("rfm", "iteration", "matrix_30"), ("network", "epoch", "feature_matrix"))
    ):
        x = np.arange(data[f"{name}_test_accuracy"].shape[-1])
        plot_band(x, 100 * data[f"{name}_test_accuracy"], axes[row][0], color="C0")
        for kind, colour in (("circulant", "C2"), ("hankel", "C4")):
            label = {"circulant": "circulant", "hankel": "Hankel"}[kind]
            curves = data[f"{name}_{kind}_energy"]
            plot_band(x, 100 * curves, axes[row][1], color=colour, label=label)
        panel(axes[row][0], "test accuracy (%)", time, percent=True)
        panel(axes[row][1], "energy on Fourier lines (%)", time, percent=True)
        plot_feature_matrix(data[f"{name}_{matrix}"][0], ax=axes[row][2])
        title = {"rfm": "RFM", "network": "network"}[name]
        axes[row][0].set_title(title)
        axes[row][2].set_title({"rfm": "final $M$", "network": "final √AGOP"}[name])
    axes[0][1].legend(frameon=False)
    return axes


FIGURES = (
    Figure(
        "5",
        "Network, x + y and x · y mod 61: progress measures",
        _trained("x+y", "x*y"),
        columns("test_accuracy", *ORIENTED, "feature_alignment"),
        plot_network_measures,
    ),
    Figure(
        "6",
        "Network, x + y and x · y mod 61: NFM and √AGOP",
        _trained("x+y", "x*y"),
        columns("nfm", "feature_matrix", *CORRELATIONS),
        plot_feature_ansatz,
    ),
    Figure(
        "7",
        "Network mod 61 from 17.5 % of the pairs: one-hot and random circulant inputs",
        _inputs("x+y", "x*y"),
        accuracy_by_label,
        plot_circulant_inputs,
    ),
    Figure(
        "A5",
        "Network, x − y and x / y mod 61: progress measures",
        _trained("x-y", "x/y"),
        columns("test_accuracy", *ORIENTED, "feature_alignment"),
        plot_network_measures,
    ),
    Figure(
        "A6",
        "Network, x − y and x / y mod 61: NFM and √AGOP",
        _trained("x-y", "x/y"),
        columns("nfm", "feature_matrix", *CORRELATIONS),
        plot_feature_ansatz,
    ),
    Figure(
        "A7",
        "Network, four operations mod 61: the Neural Feature Ansatz over training",
        _trained("x+y", "x-y", "x*y", "x/y"),
        columns(*CORRELATIONS),
        plot_ansatz_over_training,
    ),
    Figure(
        "A8",
        "Network, x + y mod 61 from 40 % of the pairs, SGD",
        _sgd,
        columns("test_accuracy", "train_mse"),
        plot_sgd,
    ),
    Figure(
        "A9",
        "Network mod 61 from 17.5 % of the pairs: one-hot and random circulant inputs",
        _inputs("x-y", "x/y"),
        accuracy_by_label,
        plot_circulant_inputs,
    ),
    Figure(
        "side-by-side",
        "x + y mod 61: Recursive Feature Machine and network",
        _side_by_side,
        _both,
        plot_side_by_side,
    ),
)
