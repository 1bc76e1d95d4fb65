"""
Another update of the features
==============================

``feature_update="fact"`` puts the matrix of the Features at Convergence Theorem in the place of the
AGOP. It groks as well, later. With shuffled labels nothing generalises, yet the feature matrix
agrees with the theorem's as before: agreement is no sign of generalisation.
"""

import grokrfm
import matplotlib.pyplot as plt
import numpy as np

p = 31
task = grokrfm.ModularTask("x+y", p)


def run(task, update):
    """Test accuracies, and the correlation of M and the theorem's matrix, no diagonal."""
    model = grokrfm.RFMClassifier(p, "quadratic", iterations=60, feature_update=update)
    model.fit(task.split(0.6))
    off = ~np.eye(2 * p, dtype=bool)
    F, M = model.fact(), model.feature_matrix_
    return model.history_["test_accuracy"], np.corrcoef((F + F.T)[off], M[off])[0, 1]


for name, of, update in (
    ("AGOP", task, "agop"),
    ("FACT", task, "fact"),
    ("FACT, shuffled labels", task.with_random_labels(0), "fact"),
):
    accuracy, correlation = run(of, update)
    plt.plot(accuracy, label=f"{name}: correlation {correlation:.3f}")
plt.xlabel("iteration")
plt.ylabel("test accuracy")
plt.legend()
plt.show()
