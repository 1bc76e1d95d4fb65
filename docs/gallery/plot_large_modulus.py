"""
A large modulus, sampled
========================

x + y mod 199 has 19,800 training pairs. With ``agop_classes`` every update's AGOP comes from a
dozen classes drawn afresh, with ``eval_pairs`` the accuracy from 32 pairs drawn once. What that
costs in accuracy: :doc:`/sampling`.
"""

import grokrfm
import matplotlib.pyplot as plt
from grokrfm import figures

split = grokrfm.ModularTask("x+y", 199).split(0.5)
model = grokrfm.RFMClassifier(199, agop_classes=12, eval_pairs=32, tol=1e-3, iterations=14)
model.fit(split)
print("five more pairs:", model.predict(split.X_test[:5]), "should be", split.y_test[:5])

_, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
history = model.history_
left.errorbar(history["iteration"], history["test_accuracy"], history["test_accuracy_error"])
left.set_xlabel("iteration")
left.set_ylabel("accuracy of 32 test pairs")
figures.plot_feature_matrix(model.feature_matrix_, "x+y", right)
plt.show()
