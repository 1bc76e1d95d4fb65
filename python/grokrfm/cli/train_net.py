"""`grokrfm train-net`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network import NETWORK_BACKENDS, FCNClassifier, NetworkMeasures
from ..operations import ACTIVATIONS, OPTIMIZERS
from ..training import Row
from .options import DTYPE, Option, TrainingCommand, backend_option

_OPTIONS: dict[str, Option] = {
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
    "backend": backend_option(NETWORK_BACKENDS),
    "dtype": DTYPE,
}


def _columns(record: Row) -> str:
    deviation = record.get("circulant_deviation")
    return f"loss {record['train_mse']:.1e}" + (
        "" if deviation is None else f"  deviation {deviation:.3f}"
    )


def _summary(model: FCNClassifier) -> str:
    correlation = model.history_["nfm_correlation_off_diagonal"]
    measured = correlation[np.isfinite(correlation)]
    if not measured.size:
        return "the correlation of NFM and root AGOP is not defined"
    return f"NFM and root AGOP correlate by {measured[-1]:.3f} off the diagonal"


def _arrays(model: FCNClassifier) -> dict[str, Any]:
    first, second = model.network_.weights()
    return {
        "feature_matrices": model.matrices_["feature_matrix"],
        "feature_epochs": model.matrix_epochs_["feature_matrix"],
        "feature_matrix": model.feature_matrix_,
        "first_weights": first,
        "second_weights": second,
    }


TRAIN_NET = TrainingCommand(
    name="train-net",
    help="train one network and write a run folder",
    description="""Train one network with a hidden layer. Without options: x+y mod 61 from half of
all pairs, 1024 quadratic units, AdamW, 50 epochs. Writes a folder with config.json, metrics.jsonl
(one line an epoch), features.npz (every square root of an AGOP, and the final weights),
checkpoint.npz (what the run goes on from) and run.png. Ctrl-C ends the run after the present epoch
and keeps everything; --resume goes on.""",
    examples=(
        "--operation 'x*y' --activation relu --epochs 200",
        "--optimizer sgd --learning-rate 1 --weight-decay 1e-5 --record-every 50",
        "--resume runs/x+y_p61_network_quadratic_seed0 --epochs 100",
    ),
    estimator=FCNClassifier,
    unit="epoch",
    options=_OPTIONS,
    seeds="the split, the initial weights and the order of the pairs",
    checkpoint_every=25,
    label=lambda options: f"{options.hidden_width} {options.activation} units",
    folder=lambda options: f"network_{options.activation}",
    callbacks=lambda options: [NetworkMeasures(options.operation, options.record_every)],
    columns=_columns,
    arrays=_arrays,
    summary=_summary,
    run_options={"record_every": (1, "measure AGOP and NFM after so many epochs")},
)
