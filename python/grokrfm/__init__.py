"""Recursive Feature Machines on modular arithmetic."""

from . import features
from .history import Round
from .info import build_info
from .machines import SolverWarning
from .many import fit_many
from .rfm import NotFittedError, RFMClassifier
from .tasks import ModularTask, Split

__version__ = "0.1.0"

__all__ = [
    "ModularTask",
    "NotFittedError",
    "RFMClassifier",
    "Round",
    "SolverWarning",
    "Split",
    "build_info",
    "features",
    "fit_many",
]
