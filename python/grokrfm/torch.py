"""AGOP of PyTorch modules: the public names of `analysis.torch`. Needs `grokrfm[torch]`."""

from .analysis.torch import *
