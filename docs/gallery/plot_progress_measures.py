"""
Progress measures during a run
==============================

The test accuracy tells nothing before the transition; two measures of the feature matrix do. The
circulant deviation of its cross block falls and its alignment with the final one rises from early
on. For products the block is taken in the order of discrete logarithms.
:class:`~grokrfm.FeatureMeasures` adds more columns to the history, among them the share of the
block's energy on circulant lines.
"""

import grokrfm
import matplotlib.pyplot as plt
from grokrfm import figures

split = grokrfm.ModularTask("x*y", 61).split(0.5)
model = grokrfm.RFMClassifier(61, iterations=30)
model.fit(split, callbacks=[grokrfm.FeatureMeasures("x*y")])

_, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
figures.plot_accuracy(model.history_, left)
figures.plot_measures(model.history_, middle)
for name in ("circulant_energy", "hankel_energy", "participation_ratio"):
    right.plot(model.history_[name], label=name)
right.legend()
right.set_xlabel("iteration")
plt.show()
