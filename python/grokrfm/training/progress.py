"""The progress bar of a run, in scripts and notebooks."""

from __future__ import annotations

import warnings
from typing import Any

from .history import Recorded


def bar_class() -> Any:
    """Return tqdm's bar for where this runs; ImportError without tqdm.

    A notebook without ipywidgets gets a line of text, and no warning that says so.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        from tqdm.auto import tqdm
    return tqdm


class Progress:
    """Callback that shows a tqdm bar: iterations or epochs done, and the test accuracy.

    In front stands how much memory the run takes at most, unless `desc` says something else.

    The bar closes when the run ends, however it ends; the same object serves one run after the
    other. Of runs that go together in `fit_many` each needs its own.

    Parameters
    ----------
    **options
        Of `tqdm.auto.tqdm`, such as desc, leave, position or disable.

    Raises
    ------
    ImportError
        If tqdm is missing.
    """

    def __init__(self, **options: Any) -> None:
        try:
            self._make = bar_class()
        except ImportError as error:
            raise ImportError(
                "Progress: tqdm is missing, pip install 'grokrfm[progress]'"
            ) from error
        self._options = options
        self._bar: Any = None

    def __call__(self, current: Recorded) -> None:
        unit = "epoch" if "epoch" in current.record else "iteration"
        done, total = int(current.record[unit]), int(getattr(current, unit + "s"))
        if self._bar is None:
            said = f"up to {current.memory / 1e6:.0f} MB"
            given = {"desc": said, "total": total, "initial": done, "unit": unit}
            self._bar = self._make(**{**given, **self._options})
        self._bar.set_postfix_str(f"test {current.record['test_accuracy']:.2%}", refresh=False)
        self._bar.update(done - self._bar.n)
        if done == total:
            self.close()

    def close(self) -> None:
        """End the bar; the loop calls this at the end of a run."""
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
            self._bar = None
