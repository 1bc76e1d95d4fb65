"""What features and predictors are: circulant structure, Fourier analysis, measures of both.

`torch`, for modules of your own, is imported by whoever has PyTorch.
"""

from . import features, fourier, groups
from .measures import feature_correlation, feature_measures

__all__ = ["feature_correlation", "feature_measures", "features", "fourier", "groups"]
