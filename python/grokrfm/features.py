"""Feature matrices: the public names of `analysis.features`."""

from .analysis.features import *
