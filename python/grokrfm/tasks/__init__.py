"""What is to be learnt, and from which pairs: tasks, their splits, pairs as inputs."""

from . import groups
from .arithmetic import primitive_root, require_prime
from .formulas import OPERATIONS, check_operation, formula_of, is_multiplicative
from .modular import ModularTask
from .multi import MultiTask
from .pairs import PairData, input_dimension, pair_indices
from .reflections import reflect
from .split import Split, Task

__all__ = [
    "OPERATIONS",
    "ModularTask",
    "MultiTask",
    "PairData",
    "Split",
    "Task",
    "check_operation",
    "formula_of",
    "groups",
    "input_dimension",
    "is_multiplicative",
    "pair_indices",
    "primitive_root",
    "reflect",
    "require_prime",
]
