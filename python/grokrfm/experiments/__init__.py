"""Experiments by description, sweeps over many, the store of results, the folder of a run."""

from .critical import critical_fraction
from .descriptions import NetworkRun, RFMRun
from .folder import CHANGEABLE, COMPLETE, INTERRUPTED, RunFolder, new_folder
from .models import load, load_run
from .orbits import OrbitRun
from .store import ResultStore
from .sweep import listed, sweep
from .table import SweepTable, first_passed
from .task_runs import Experiment, Result, Table

__all__ = [
    "CHANGEABLE",
    "COMPLETE",
    "INTERRUPTED",
    "Experiment",
    "NetworkRun",
    "OrbitRun",
    "RFMRun",
    "Result",
    "ResultStore",
    "RunFolder",
    "SweepTable",
    "Table",
    "critical_fraction",
    "first_passed",
    "listed",
    "load",
    "load_run",
    "new_folder",
    "sweep",
]
