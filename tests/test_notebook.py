"""The notebook runs, and shows progress, short reprs, a figure and a table, without a warning."""

import re
from pathlib import Path

import nbclient
import nbformat

NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebooks" / "grokking.ipynb"


def test_notebook(tmp_path, monkeypatch):
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "own"))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel has its own
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    split, fit, figure, sweep = ([dict(each) for each in cell.outputs] for cell in cells)

    shown = [outputs[-1]["data"]["text/plain"] for outputs in (split, fit)]
    assert shown[0] == "Split('x+y', modulus=31, n_train=576, n_test=385)"
    assert shown[1] == "RFMClassifier(modulus=31, iterations=40, n_classes=31)"
    drawn = str(fit[:-1])  # by tqdm: a widget, or text
    assert "widget-view" in drawn or re.search(r"40/40.*test 9\d\.\d\d%", drawn)
    assert [output["output_type"] for output in figure] == ["display_data"]
    assert "image/png" in figure[0]["data"]
    assert "<caption>SweepTable(4 of 4 runs done" in sweep[-1]["data"]["text/html"]
    assert "Warning" not in str([split, fit, sweep])
