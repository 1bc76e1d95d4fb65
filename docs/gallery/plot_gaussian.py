"""
A Gaussian kernel without a kernel matrix
=========================================

Sampled runs take any kernel: products with the kernel matrix are streamed, and no n × n array is
ever there. The bandwidth is L in exp(−δ / (2 L²)); ``kernel="gaussian_paper"`` has the other
convention.
"""

import grokrfm
import matplotlib.pyplot as plt

split = grokrfm.ModularTask("x+y", 53).split(0.5)
model = grokrfm.RFMClassifier(
    53, "gaussian", bandwidth=2.5, iterations=20, agop_classes=16, eval_pairs=64, tol=1e-3
)
model.fit(split)
assert model.dual_coef_ is None and model.solver_ == "cg"

history = model.history_
plt.errorbar(history["iteration"], history["test_accuracy"], history["test_accuracy_error"])
plt.xlabel("iteration")
plt.ylabel("accuracy of 64 test pairs, with its standard error")
plt.show()
