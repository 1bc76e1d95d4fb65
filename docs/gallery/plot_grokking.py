"""
Grokking in ten lines
=====================

A Recursive Feature Machine learns x + y mod 31 from 60 % of all pairs. It knows the training pairs
from the first round on, and the others only once its feature matrix is close to block-circulant.
"""

import grokrfm
from grokrfm import figures

split = grokrfm.ModularTask("x+y", 31).split(train_fraction=0.6, seed=0)
model = grokrfm.RFMClassifier(31, iterations=40)
model.fit(split)

accuracy = model.history_["test_accuracy"]
print(f"test accuracy: {accuracy[0]:.1%} at first, {accuracy[-1]:.1%} in the end")
figures.plot_run(model.history_, model.feature_matrix_, "x+y", "x + y mod 31")
