"""
A callback of one's own
=======================

A callback sees every round: its row of the history, to which it may add, and the feature matrix.
If it returns True the run ends. Here one records the effective rank of the feature matrix, and
another one stops the run at 99 % test accuracy.
"""

import grokrfm
import matplotlib.pyplot as plt


def rank(current):
    M = current.feature_matrix
    current.record["rank"] = grokrfm.features.effective_rank(M) / len(M)


def solved(current):
    return bool(current.record["test_accuracy"] >= 0.99)


split = grokrfm.ModularTask("x-y", 41).split(0.6)
model = grokrfm.RFMClassifier(41, iterations=60)
model.fit(split, callbacks=[rank, solved])
print(f"stopped after {model.n_iter_} of {model.iterations} iterations")

plt.plot(model.history_["rank"], label="effective rank / dimension")
plt.plot(model.history_["test_accuracy"], label="test accuracy")
plt.xlabel("iteration")
plt.legend()
plt.show()
