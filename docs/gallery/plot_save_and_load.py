"""
Save and load
=============

A fitted model is one file of plain arrays with a checksum, without pickles. What comes back
predicts, analyses, and tells the predictors of earlier rounds, as far as their feature matrices
were kept.
"""

import tempfile
from pathlib import Path

import grokrfm
import matplotlib.pyplot as plt
import numpy as np

split = grokrfm.ModularTask("x+y", 31).split(0.6)
fitted = grokrfm.RFMClassifier(31, iterations=40, keep_features=10).fit(split)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "model.npz")
    fitted.save(path)
    print(f"{path.stat().st_size / 1e3:.0f} kB")
    model = grokrfm.load(path)

assert np.array_equal(model.predict(split.X_test), fitted.predict(split.X_test))
accuracy = [model.at_iteration(t).score(split.X_test, split.y_test) for t in model.kept_iterations_]
plt.plot(model.history_["test_accuracy"], label="history")
plt.plot(model.kept_iterations_, accuracy, "o", label="predictors of the loaded model")
plt.xlabel("iteration")
plt.ylabel("test accuracy")
plt.legend()
plt.show()
