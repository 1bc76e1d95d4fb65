"""Fourier analysis: the public names of `analysis.fourier`."""

from .analysis.fourier import *
