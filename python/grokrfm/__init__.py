"""Recursive Feature Machines on modular arithmetic."""

from . import features, figures, fourier
from .estimator import NotFittedError
from .history import Round
from .info import build_info
from .machines import SolverWarning
from .many import fit_many
from .measures import FeatureMeasures
from .network import FCNClassifier
from .network_features import Epoch, NetworkMeasures
from .rfm import RFMClassifier
from .tasks import ModularTask, MultiTask, Split

__version__ = "0.1.0"

__all__ = [
    "Epoch",
    "FCNClassifier",
    "FeatureMeasures",
    "ModularTask",
    "MultiTask",
    "NetworkMeasures",
    "NotFittedError",
    "RFMClassifier",
    "Round",
    "SolverWarning",
    "Split",
    "build_info",
    "features",
    "figures",
    "fit_many",
    "fourier",
]
