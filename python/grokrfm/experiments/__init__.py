"""Experiments by description, the store of their results, the folder of a run."""

from .descriptions import Experiment, NetworkRun, Result, RFMRun
from .folder import RunFolder, unused_path
from .store import ResultStore

__all__ = [
    "Experiment",
    "NetworkRun",
    "RFMRun",
    "Result",
    "ResultStore",
    "RunFolder",
    "unused_path",
]
