"""Recursive Feature Machines on modular arithmetic."""

from . import features, figures, fourier
from .history import Round
from .info import build_info
from .machines import SolverWarning
from .measures import FeatureMeasures
from .rfm import NotFittedError, RFMClassifier
from .tasks import ModularTask, MultiTask, Split

__version__ = "0.1.0"

__all__ = [
    "FeatureMeasures",
    "ModularTask",
    "MultiTask",
    "NotFittedError",
    "RFMClassifier",
    "Round",
    "SolverWarning",
    "Split",
    "build_info",
    "features",
    "figures",
    "fourier",
]
