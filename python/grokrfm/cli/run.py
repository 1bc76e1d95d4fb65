"""`grokrfm run`."""

from __future__ import annotations

from typing import Any

from ..operations import BACKENDS, KERNELS
from ..rfm import CENTERINGS, FEATURE_UPDATES, SOLVERS, FeatureMeasures, RFMClassifier
from ..training import Row
from .options import DTYPE, Option, TrainingCommand, backend_option


def _number_or_name(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


# n_classes and n_tasks follow from the task
_OPTIONS: dict[str, Option] = {
    "modulus": (int, None, "p, the number of residues"),
    "kernel": (str, tuple(KERNELS), "kernel function"),
    "iterations": (int, None, "updates of the feature matrix"),
    "bandwidth": (float, None, "L of the Gaussian and Laplace kernels"),
    "ridge": (float, None, "added to the diagonal of the kernel matrix; 0 interpolates"),
    "agop_power": (float, None, "exponent on the average gradient outer product"),
    "feature_update": (
        str,
        FEATURE_UPDATES,
        "what the next feature matrix is a power of: the average gradient outer product, or the "
        "matrix of the Features at Convergence Theorem",
    ),
    "centering": (str, CENTERINGS, "gradients less their mean per class, or as they are"),
    "solver": (str, SOLVERS, "linear solver"),
    "tol": (float, None, "relative residual at which conjugate gradients stop"),
    "depth": (int, None, "hidden layers of the ntk kernel"),
    "agop_classes": (int, None, "classes drawn for each update of the feature matrix; all if none"),
    "eval_pairs": (
        int,
        None,
        "with --agop-classes: evaluation pairs drawn for the accuracy, one solve each; "
        "if none, all, by all classes",
    ),
    "backend": backend_option(BACKENDS),
    "dtype": DTYPE,
    "keep_features": (
        _number_or_name,
        None,
        "whose feature matrices are kept: all; last; or a number k, every k-th iteration's",
    ),
}


def _columns(record: Row) -> str:
    return f"deviation {record['circulant_deviation']:.3f}  residual {record['residual']:.0e}"


def _summary(model: RFMClassifier) -> str:
    residual = model.history_["residual"].max()
    return f"solver {model.solver_}, largest relative residual {residual:.1e}"


def _arrays(model: RFMClassifier) -> dict[str, Any]:
    return {
        "feature_matrices": model.feature_matrices_,
        "kept_iterations": model.kept_iterations_,
        "feature_matrix": model.feature_matrix_,
    } | ({} if model.dual_coef_ is None else {"dual_coef": model.dual_coef_})


RUN = TrainingCommand(
    name="run",
    help="train one RFM and write a run folder",
    description="""Train one Recursive Feature Machine. Without options: x+y mod 61 from half of all
pairs, quadratic kernel, 30 iterations. Writes a folder with config.json, metrics.jsonl (one line an
iteration), features.npz (every feature matrix kept), checkpoint.npz (what the run goes on from) and
run.png. Ctrl-C ends the run after the present iteration and keeps everything; --resume goes on.""",
    examples=(
        "--operation 'x*y' --train-fraction 0.4",
        "--kernel gaussian --dtype float64 --stop-accuracy 0.999",
        "--resume runs/x+y_p61_quadratic_seed0 --iterations 60",
    ),
    estimator=RFMClassifier,
    unit="iteration",
    options=_OPTIONS,
    seeds="the split and of what is drawn",
    checkpoint_every=5,
    label=lambda options: f"{options.kernel} kernel",
    folder=lambda options: str(options.kernel),
    callbacks=lambda options: [FeatureMeasures(options.operation)],
    columns=_columns,
    arrays=_arrays,
    summary=_summary,
)
