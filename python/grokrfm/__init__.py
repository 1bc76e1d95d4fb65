"""Recursive Feature Machines on modular arithmetic."""

from . import features
from .estimator import NotFittedError
from .history import Round
from .info import build_info
from .machines import SolverWarning
from .network import FCNClassifier
from .network_features import Epoch, FeatureRecorder
from .rfm import RFMClassifier
from .tasks import ModularTask, Split

__version__ = "0.1.0"

__all__ = [
    "Epoch",
    "FCNClassifier",
    "FeatureRecorder",
    "ModularTask",
    "NotFittedError",
    "RFMClassifier",
    "Round",
    "SolverWarning",
    "Split",
    "build_info",
    "features",
]
