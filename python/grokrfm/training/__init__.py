"""What every estimator shares: its conventions, scores, the history and checkpoints of a run."""

from .estimator import (
    DTYPES,
    Estimator,
    NotFittedError,
    check_classes,
    check_data,
    score_columns,
)
from .history import (
    Checkpoint,
    Recorded,
    Row,
    any_stops,
    check_checkpoint,
    columns,
    fingerprint,
    pack,
    unpack_array,
    unpack_rows,
)
from .scores import Scores, scores, scores_of_outputs

__all__ = [
    "DTYPES",
    "Checkpoint",
    "Estimator",
    "NotFittedError",
    "Recorded",
    "Row",
    "Scores",
    "any_stops",
    "check_checkpoint",
    "check_classes",
    "check_data",
    "columns",
    "fingerprint",
    "pack",
    "score_columns",
    "scores",
    "scores_of_outputs",
    "unpack_array",
    "unpack_rows",
]
