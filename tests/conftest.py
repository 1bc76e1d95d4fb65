"""Hypothesis: the same examples every time, and no limit of time for one on a busy machine."""

from hypothesis import settings

settings.register_profile("grokrfm", deadline=None, derandomize=True)
settings.load_profile("grokrfm")
