"""Recursive Feature Machines on modular arithmetic."""

from . import signals  # noqa: F401  # first, for Ctrl-C while the rest is imported

# isort: split
from . import features, figures, fourier, groups
from ._version import __version__
from .citations import citation
from .experiments import NetworkRun, RFMRun, SweepTable, critical_fraction, load, load_run, sweep
from .network import Epoch, FCNClassifier, NetworkMeasures
from .operations import CustomKernel, build_info
from .rfm import FeatureMeasures, RFMClassifier, Round, SolverWarning, fit_many
from .tasks import ModularTask, MultiTask, Split
from .training import NotFittedError, Progress

__all__ = [
    "CustomKernel",
    "Epoch",
    "FCNClassifier",
    "FeatureMeasures",
    "ModularTask",
    "MultiTask",
    "NetworkMeasures",
    "NetworkRun",
    "NotFittedError",
    "Progress",
    "RFMClassifier",
    "RFMRun",
    "Round",
    "SolverWarning",
    "Split",
    "SweepTable",
    "__version__",
    "build_info",
    "citation",
    "critical_fraction",
    "features",
    "figures",
    "fit_many",
    "fourier",
    "groups",
    "load",
    "load_run",
    "sweep",
]
