"""
A phase diagram from a sweep
============================

Final test accuracy over modulus and training fraction. A sweep has a folder with a file for each
run: a second call with more values does the new runs alone.
"""

import tempfile

import grokrfm
from grokrfm import figures

run = grokrfm.RFMRun(operation="x+y", iterations=30, keep_features="last")
over = {"modulus": [11, 13, 17, 23], "train_fraction": [0.3, 0.4, 0.5, 0.6, 0.7], "seed": [0]}
with tempfile.TemporaryDirectory() as folder:
    table = grokrfm.sweep(run, over, folder=folder, progress=False)
print(table.column("status").tolist().count("done"), "runs")
figures.plot_phase_diagram(table)
