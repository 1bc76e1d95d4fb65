"""
A group by its Cayley table
===========================

Labels may come from a table: here the direct product of two cyclic groups of six elements, whose
element (a, b) has number 6 a + b, and the dihedral group of order 36, which is not commutative.
Of both, 60 % of all pairs are training pairs. The first is learnt; the second remains far behind.
"""

import grokrfm
import matplotlib.pyplot as plt
import numpy as np

first, second = np.indices((36, 36))
product = 6 * ((first // 6 + second // 6) % 6) + (first + second) % 6

# r^k or r^k s as k + 18 f: (k, f) (m, g) = (k ± m, f + g), with minus after a reflection
k, f = first % 18, first // 18
m, g = second % 18, second // 18
dihedral = (k + np.where(f == 1, -m, m)) % 18 + 18 * ((f + g) % 2)

for name, table in {"cyclic × cyclic": product, "dihedral": dihedral}.items():
    task = grokrfm.ModularTask.from_table(table)
    model = grokrfm.RFMClassifier.for_task(task, iterations=40).fit(task.split(0.6))
    plt.plot(model.history_["test_accuracy"], label=name)
plt.xlabel("iteration")
plt.ylabel("test accuracy")
plt.legend()
plt.show()
