"""Experiments by description, the store of their results, the folder of a run."""

from .descriptions import Experiment, NetworkRun, Result, RFMRun
from .folder import RunFolder, unused_path
from .models import load, load_run
from .store import ResultStore

__all__ = [
    "Experiment",
    "NetworkRun",
    "RFMRun",
    "Result",
    "ResultStore",
    "RunFolder",
    "load",
    "load_run",
    "unused_path",
]
