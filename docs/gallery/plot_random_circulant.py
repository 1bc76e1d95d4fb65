"""
Random circulant features
=========================

It is the structure of the features that generalises, not what was learnt: a kernel machine with a
*random* block-circulant feature matrix, which never saw a pair, needs fewer training pairs than a
Recursive Feature Machine. No update is done here (``iterations=0``).
"""

import grokrfm
import matplotlib.pyplot as plt

p, fractions = 31, (0.2, 0.3, 0.4, 0.5, 0.6)
M = grokrfm.features.random_circulant("x+y", p, seed=0)
task = grokrfm.ModularTask("x+y", p)
accuracy = {"random circulant": [], "learnt": []}
for fraction in fractions:
    split = task.split(fraction)
    fixed = grokrfm.RFMClassifier(p, "gaussian", iterations=0).fit(split, feature_matrix=M)
    learnt = grokrfm.RFMClassifier(p, "gaussian", iterations=30).fit(split)
    accuracy["random circulant"].append(fixed.history_["test_accuracy"][-1])
    accuracy["learnt"].append(learnt.history_["test_accuracy"][-1])
for name, values in accuracy.items():
    plt.plot(fractions, values, "o-", label=name)
plt.xlabel("training fraction")
plt.ylabel("test accuracy")
plt.legend()
plt.show()
