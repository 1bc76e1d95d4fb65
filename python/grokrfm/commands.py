"""What `grokrfm run` and `grokrfm train-net` train, say and store."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from .backends import BACKENDS
from .estimator import DTYPES
from .history import Row
from .kernels import KERNELS
from .measures import FeatureMeasures
from .network import FCNClassifier
from .network_arrays import ACTIVATIONS, OPTIMIZERS
from .network_features import NetworkMeasures
from .rfm import CENTERINGS, RFMClassifier
from .sessions import Option, TrainingCommand
from .solvers import SOLVERS

# n_classes and n_tasks follow from the task
_BOTH: dict[str, Option] = {
    "backend": (str, BACKENDS, "where the operations run"),
    "dtype": (str, DTYPES, "precision of the run"),
}
_RFM_OPTIONS: dict[str, Option] = {
    "modulus": (int, None, "p, the number of residues"),
    "kernel": (str, tuple(KERNELS), "kernel function"),
    "iterations": (int, None, "updates of the feature matrix"),
    "bandwidth": (float, None, "L of the Gaussian and Laplace kernels"),
    "ridge": (float, None, "added to the diagonal of the kernel matrix; 0 interpolates"),
    "agop_power": (float, None, "exponent on the average gradient outer product"),
    "centering": (str, CENTERINGS, "gradients less their mean per class, or as they are"),
    "solver": (str, SOLVERS, "linear solver"),
    "tol": (float, None, "relative residual at which conjugate gradients stop"),
    "depth": (int, None, "hidden layers of the ntk kernel"),
    **_BOTH,
}
_NETWORK_OPTIONS: dict[str, Option] = {
    "modulus": (int, None, "p, the number of residues"),
    "hidden_width": (int, None, "number of hidden units"),
    "activation": (str, tuple(ACTIVATIONS), "activation function"),
    "epochs": (int, None, "passes through the training pairs"),
    "batch_size": (int, None, "pairs in a step of the optimizer"),
    "learning_rate": (float, None, "step size"),
    "weight_decay": (float, None, "decoupled for adamw, added to the gradient for sgd"),
    "agop_penalty": (float, None, "weight of the AGOP's trace in the loss"),
    "optimizer": (str, OPTIMIZERS, "optimizer"),
    "initialization_scale": (float, None, "initial weights are uniform on +-scale/sqrt(fan-in)"),
    **_BOTH,
}


def _rfm_columns(record: Row) -> str:
    return f"deviation {record['circulant_deviation']:.3f}  residual {record['residual']:.0e}"


def _rfm_summary(model: RFMClassifier) -> str:
    residual = model.history_["residual"].max()
    return f"solver {model.solver_}, largest relative residual {residual:.1e}"


def _rfm_arrays(model: RFMClassifier) -> dict[str, Any]:
    return {
        "feature_matrices": model.feature_matrices_,
        "feature_matrix": model.feature_matrix_,
        "dual_coef": model.dual_coef_,
    }


RUN = TrainingCommand(
    name="run",
    help="train one RFM and write a run folder",
    description="Train one Recursive Feature Machine. Without options: x+y mod 61 from half of "
    "all pairs, quadratic kernel, 30 iterations. Writes a folder with config.json, "
    "metrics.jsonl (one line a round), features.npz (every feature matrix) and "
    "run.png. Ctrl-C ends the run and keeps what was computed.",
    epilog="examples:  grokrfm run --operation 'x*y' --train-fraction 0.4    "
    "grokrfm run --kernel gaussian --dtype float64 --stop-accuracy 0.999",
    estimator=RFMClassifier,
    unit="iteration",
    options=_RFM_OPTIONS,
    seeds="the split",
    checkpoint_every=5,
    label=lambda options: f"{options.kernel} kernel",
    folder=lambda options: str(options.kernel),
    callbacks=lambda options: [FeatureMeasures(options.operation)],
    columns=_rfm_columns,
    arrays=_rfm_arrays,
    summary=_rfm_summary,
)


def _network_columns(record: Row) -> str:
    deviation = record.get("circulant_deviation")
    return f"loss {record['train_mse']:.1e}" + (
        "" if deviation is None else f"  deviation {deviation:.3f}"
    )


def _network_summary(model: FCNClassifier) -> str:
    correlation = model.history_["nfm_correlation_off_diagonal"]
    measured = correlation[np.isfinite(correlation)]
    return f"NFM and root AGOP correlate by {measured[-1]:.3f} off the diagonal"


def _network_arrays(model: FCNClassifier) -> dict[str, Any]:
    first, second = model.network_.weights()
    return {
        "feature_matrices": model.matrices_["feature_matrix"],
        "feature_epochs": model.matrix_epochs_["feature_matrix"],
        "feature_matrix": model.feature_matrix_,
        "first_weights": first,
        "second_weights": second,
    }


def _network_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--record-every",
        type=int,
        default=1,
        metavar="N",
        help="measure AGOP and NFM after so many epochs",
    )


TRAIN_NET = TrainingCommand(
    name="train-net",
    help="train one network and write a run folder",
    description="Train one network with a hidden layer. Without options: x+y mod 61 from half of "
    "all pairs, 1024 quadratic units, AdamW, 50 epochs. Writes a folder with config.json, "
    "metrics.jsonl (one line an epoch), features.npz (every square root of an AGOP, and the "
    "final weights) and run.png. Ctrl-C ends the run and keeps what was computed.",
    epilog="examples:  grokrfm train-net --operation 'x*y' --activation relu --epochs 200    "
    "grokrfm train-net --optimizer sgd --learning-rate 1 --weight-decay 1e-5 --record-every 50",
    estimator=FCNClassifier,
    unit="epoch",
    options=_NETWORK_OPTIONS,
    seeds="the split, the initial weights and the order of the pairs",
    checkpoint_every=25,
    label=lambda options: f"{options.hidden_width} {options.activation} units",
    folder=lambda options: f"network_{options.activation}",
    callbacks=lambda options: [NetworkMeasures(options.operation, options.record_every)],
    columns=_network_columns,
    arrays=_network_arrays,
    summary=_network_summary,
    more_options=_network_options,
)
