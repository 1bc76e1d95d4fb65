"""What every estimator shares: its conventions, scores, the history and checkpoints of a run."""

from .data import check_classes, check_data, find_classes, is_numbered
from .estimator import (
    DTYPES,
    MODEL_FORMAT,
    MODEL_FORMAT_VERSION,
    Estimator,
    NotFittedError,
    check_history,
    score_columns,
    stored_history,
)
from .history import (
    Checkpoint,
    Recorded,
    Row,
    any_stops,
    check_checkpoint,
    closing,
    columns,
    fingerprint,
    pack,
    unpack_array,
    unpack_rows,
)
from .progress import Progress, bar_class
from .scores import ClassSums, Scores, sampled_accuracy, scores, scores_of_outputs

__all__ = [
    "DTYPES",
    "MODEL_FORMAT",
    "MODEL_FORMAT_VERSION",
    "Checkpoint",
    "ClassSums",
    "Estimator",
    "NotFittedError",
    "Progress",
    "Recorded",
    "Row",
    "Scores",
    "any_stops",
    "bar_class",
    "check_checkpoint",
    "check_classes",
    "check_data",
    "check_history",
    "closing",
    "columns",
    "find_classes",
    "fingerprint",
    "is_numbered",
    "pack",
    "sampled_accuracy",
    "score_columns",
    "scores",
    "scores_of_outputs",
    "stored_history",
    "unpack_array",
    "unpack_rows",
]
