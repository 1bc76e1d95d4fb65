"""
An operation of one's own
=========================

A task is any function of two residues; where it returns None there is no such pair. The first one
here is learnt like addition. The second does not depend on the order of its operands, and the
machine learns nothing else about it: its accuracy ends at the share of test pairs (x, y) whose
mirror image (y, x) was a training pair.
"""

import grokrfm
import matplotlib.pyplot as plt


def weighted(x, y):
    return 2 * x + 3 * y


def distance(x, y):
    return None if x == y else abs(x - y)


for operation in (weighted, distance):
    task = grokrfm.ModularTask(operation, 43)
    split = task.split(0.6)
    model = grokrfm.RFMClassifier.for_task(task, iterations=40).fit(split)
    plt.plot(model.history_["test_accuracy"], label=task.operation)
    print(task, len(task.pairs), "pairs")

known = {tuple(pair) for pair in split.X_train.tolist()}
share = sum((b, a) in known for a, b in split.X_test.tolist()) / len(split.X_test)
plt.axhline(share, color="gray", linestyle=":", label="mirror image known, of the second")
plt.xlabel("iteration")
plt.ylabel("test accuracy")
plt.legend()
plt.show()
