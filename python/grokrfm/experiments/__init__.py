"""Experiments by description, the store of their results, the folder of a run."""

from .descriptions import Experiment, NetworkRun, Result, RFMRun
from .folder import CHANGEABLE, COMPLETE, INTERRUPTED, RunFolder, new_folder
from .models import load, load_run
from .store import ResultStore

__all__ = [
    "CHANGEABLE",
    "COMPLETE",
    "INTERRUPTED",
    "Experiment",
    "NetworkRun",
    "RFMRun",
    "Result",
    "ResultStore",
    "RunFolder",
    "load",
    "load_run",
    "new_folder",
]
