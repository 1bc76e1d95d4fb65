"""Finite groups and their features: the public names of `tasks.groups` and `analysis.groups`."""

from .analysis.groups import *
from .tasks.groups import *
