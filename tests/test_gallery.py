"""The scripts of the gallery run, without a warning."""

import runpy
from pathlib import Path

import matplotlib
import pytest

SCRIPTS = sorted((Path(__file__).parent.parent / "docs" / "gallery").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script(script, tmp_path, monkeypatch):
    if script.stem.startswith("plot_torch"):
        pytest.importorskip("torch", reason=f"{script.stem} needs PyTorch")
    matplotlib.use("Agg")
    plots = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plots, "show", lambda: None)  # Agg warns
    runpy.run_path(str(script))
    assert plots.get_fignums()
    plots.close("all")
