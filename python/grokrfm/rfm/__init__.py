"""The Recursive Feature Machine: machines that solve with one M, the round loop, the estimator."""

from .classifier import RFMClassifier
from .evaluation import SolverWarning
from .many import fit_many
from .measures import FeatureMeasures
from .parameters import CENTERINGS, FEATURE_UPDATES
from .run import Callback, Round
from .solvers import SOLVERS

__all__ = [
    "CENTERINGS",
    "FEATURE_UPDATES",
    "SOLVERS",
    "Callback",
    "FeatureMeasures",
    "RFMClassifier",
    "Round",
    "SolverWarning",
    "fit_many",
]
